"""A page and a health check: change it, and deploy again."""

import os
import socket

from flask import Flask, jsonify

app = Flask(__name__)


@app.get("/")
def index():
    greeting = os.environ.get("GREETING", "Hello from Flask")
    return jsonify(greeting=greeting, pod=socket.gethostname())


@app.get("/healthz")
def healthy():
    return "ok\n"
