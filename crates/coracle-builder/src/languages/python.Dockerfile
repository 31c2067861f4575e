FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip python3-venv
WORKDIR /app
COPY . .
RUN python3 -m venv /venv && /venv/bin/pip install -r requirements.txt
ENV PATH=/venv/bin:$PATH
CMD ["python3", "app.py"]
