# SPDX-License-Identifier: Apache-2.0
"""A hostile coordinator's bundle: its client code leaves a mark where it runs."""

from __future__ import annotations

from pathlib import Path

from fl_client.flower_runtime import build_bundle

PYPROJECT = """
[project]
name = "probe"
version = "1.0.0"
license = "Apache-2.0"
dependencies = ["flwr==1.41.0"]
[tool.flwr.app]
publisher = "probe"
[tool.flwr.app.components]
serverapp = "probe_server:app"
clientapp = "probe_client:app"
"""

SERVER = """
import json, time
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()
@app.main()
def main(grid, context):
    content = RecordDict({"covalue": ConfigRecord({"probe": 1})})
    nodes = []
    while len(nodes) < @NODES@:
        nodes = list(grid.get_node_ids())
        time.sleep(0.1)
    ids = list(grid.push_messages([Message(content, node, "train") for node in nodes]))
    replies = []
    while ids:
        found = list(grid.pull_messages(ids))
        replies += found
        ids = [i for i in ids if i not in {r.metadata.reply_to_message_id for r in found}]
        time.sleep(0.1)
    told = [
        {"error": r.error.reason} if r.has_error() else {k: repr(v) for k, v in r.content.items()}
        for r in replies
    ]
    Path("@OUT@.new").write_text(json.dumps(told))
    Path("@OUT@.new").rename("@OUT@")
"""

CLIENT = """
from pathlib import Path
Path("@MARK@").write_text("the coordinator's code ran here")
from flwr.app import Message
from flwr.clientapp import ClientApp
app = ClientApp()
@app.train()
def train(message, context):
    return Message(message.content, reply_to=message)
"""


def probe_bundle(folder: Path, name: str, *, nodes: int = 1) -> tuple[bytes, Path, Path]:
    """A bundle with foreign code, the file that its server writes (what the nodes replied) and the
    mark that its client leaves where it runs."""
    app = folder / name
    app.mkdir()
    told, mark = folder / f"{name}.json", folder / f"{name}.mark"
    server = SERVER.replace("@OUT@", str(told)).replace("@NODES@", str(nodes))
    (app / "pyproject.toml").write_text(PYPROJECT)
    (app / "probe_server.py").write_text(server)
    (app / "probe_client.py").write_text(CLIENT.replace("@MARK@", str(mark)))
    return build_bundle(app), told, mark
