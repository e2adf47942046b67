"""A store on this machine, whose answers have the faults that a test asks for."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Server(ThreadingHTTPServer):
    """data/ of the checkout, with a fault for every answer; ``asked`` holds the paths that were."""

    def __init__(self):
        self.fault, self.asked = "", []
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()
        self.thread.join()


class Answer(BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment]

    def do_GET(self):
        self.server.asked.append(self.path.removeprefix("/"))
        content = (ROOT / "data" / self.path.removeprefix("/")).read_bytes()
        if self.server.fault == "503":
            return self.send_error(503, "the proxy is tired")
        if self.server.fault == "slow":
            time.sleep(0.5)
        self.send_response(200)
        if self.server.fault != "cut, and no length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.fault.startswith("cut"):
            content = content[: len(content) // 2]
        if self.server.fault == "other bytes":
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.wfile.write(content)

    def log_message(self, format, *args):
        pass


def variables(folder: Path, url: str) -> dict[str, str]:
    """Of a process that has an empty cache below the folder, the store at the address, and no proxy."""
    proxies = dict.fromkeys(
        ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), ""
    )
    own = {"XDG_CACHE_HOME": str(folder / "cache"), "DIFFGAUSS_STORE": url, "DIFFGAUSS_DATA": ""}
    return proxies | own | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
