"""An SSE client that shares nothing with igris-load: times to the first token of so many streams, one after the other.

usage: sse_client.py PORT COUNT MODEL KEY

Prints one JSON object: {"ttft": {"p50": us, "p99": us}, "streams": COUNT}. The clock starts before the request is handed to the socket and
stops at the first event whose delta has content, on one kept connection, with Python's own http.client and json.
"""

import http.client
import json
import sys
import time


def main() -> None:
    port, count, model, key = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times = []
    for index in range(count):
        body = json.dumps({
            "model": model,
            "stream": True,
            "messages": [{"role": "user", "content": f"sim:tokens=4 Question {index}?"}],
        })
        fields = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        began = time.perf_counter_ns()
        connection.request("POST", "/v1/chat/completions", body, fields)
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        first = None
        while line := answer.readline():
            if not line.startswith(b"data: {") or first is not None:
                continue
            choices = json.loads(line[6:])["choices"]
            if choices and choices[0]["delta"].get("content"):
                first = time.perf_counter_ns() - began
        assert first is not None, "a stream without content"
        times.append(first / 1e3)
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(share * len(times)))]
    print(json.dumps({"ttft": {"p50": at(0.5), "p99": at(0.99)}, "streams": count}))


main()
