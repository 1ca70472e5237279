"""Ask for one invoice number and wait for the answer, with nothing but pika.

    FUMA_BROKER_URL=amqp://… python examples/ask_for_a_number.py A01 INV-2026-000001 2026-11-23

Organisation, issue_request_id (the same again gets the same number), issue date.
"""
# ruff: noqa: INP001 -- a program by itself, of no package

import json
import os
import sys
from uuid import uuid4

import pika

organization, request_id, issue_date = sys.argv[1:]
data = {"issue_request_id": request_id, "organization": organization, "issue_date": issue_date}
event = {"specversion": "1.0", "id": str(uuid4()), "source": "/invoicing", "type": "fuma.invoice-issuing.v1"}
message = json.dumps({**event, "data": data}).encode()
with pika.BlockingConnection(pika.URLParameters(os.environ["FUMA_BROKER_URL"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    answers = channel.queue_declare("", exclusive=True).method.queue
    for topic in ("number-assigned", "number-refused"):
        channel.queue_bind(answers, "fuma", f"{topic}.#")
    persistent = pika.BasicProperties(content_type="application/cloudevents+json", delivery_mode=2)
    channel.basic_publish("fuma", "invoice-issuing", message, persistent, mandatory=True)
    for _, _, body in channel.consume(answers, auto_ack=True):
        answer = json.loads(body)["data"]
        if answer["issue_request_id"] == request_id:
            sys.stdout.write(f"{answer.get('invoice_number') or answer}\n")
            break
    channel.cancel()
