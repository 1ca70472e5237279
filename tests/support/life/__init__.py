"""The whole life of a number, played at random: a model of its own, the real handlers, and what both must agree on."""
