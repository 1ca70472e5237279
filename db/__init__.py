"""What is stored: tables and constraints, migrations, and the queries, a file for each thing stored."""
