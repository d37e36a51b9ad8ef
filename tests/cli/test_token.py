"""Tokens of nodes and clients, made from the hub's."""
import hashlib
import hmac
import re
import stat

TOKEN = "a-token-of-some-length"
NODE = ("token", "create", "--role", "node", "--node", "web-1")
CLIENT = ("token", "create", "--role", "client")


def expected(role, prefix):
    return prefix + hmac.new(TOKEN.encode(), role.encode(), hashlib.sha256).hexdigest() + "\n"


def test_tokens_are_made_from_the_hubs(client, tmp_path):
    env = {"LOOKBACK_TOKEN": TOKEN}
    node, clients = client(*NODE, env=env), client(*CLIENT, env=env)
    assert (node.returncode, node.stderr, clients.returncode, clients.stderr) == (0, "", 0, ""), (node, clients)
    assert node.stdout == expected("lookback node web-1", "node-")
    assert clients.stdout == expected("lookback client", "client-")
    file = tmp_path / "hub-token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    assert client(*NODE, "--token-file", file).stdout == node.stdout
    assert client("token", "create", "--role", "node", "--node", "web-2", "--token-file", file).stdout != node.stdout
    assert client(*NODE, "--token-file", file, "-o", "web-1.token").returncode == 0
    made = tmp_path / "web-1.token"
    assert made.read_text() == node.stdout and stat.S_IMODE(made.stat().st_mode) == 0o600
    # The machine's own token, which a daemon made.
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "token").write_text(TOKEN + "\n")
    (tmp_path / "state" / "token").chmod(0o600)
    assert client(*CLIENT).stdout == clients.stdout


def test_tokens_are_made_from_no_other(client, tmp_path):
    nothing = client(*NODE)
    assert nothing.returncode != 0 and "--token-file" in nothing.stderr and not nothing.stdout, nothing
    assert client("token", "create", "--role", "node", "--node", "../x", env={"LOOKBACK_TOKEN": TOKEN}).returncode == 2
    assert client("token").returncode == 2
    for wrong in (("token", "create"), (*CLIENT, "--node", "web-1"), NODE[:4], ("token", "create", "--role", "admin")):
        assert client(*wrong, env={"LOOKBACK_TOKEN": TOKEN}).returncode == 2
    made = {role: client(*words, env={"LOOKBACK_TOKEN": TOKEN}).stdout.strip() for role, words in (("node", NODE), ("client", CLIENT))}
    for role, token in made.items():
        for words in (("token", "create", "--role", "node", "--node", "web-2"), CLIENT, ("hub", "--data-dir", tmp_path / "hub", "--listen", "127.0.0.1:0")):
            done = client(*words, env={"LOOKBACK_TOKEN": token})
            assert done.returncode == 2 and f"token of a {role}" in done.stderr and not done.stdout, done
    done = client("capture", "--node", "web-1", "--data-dir", tmp_path / "node", env={"LOOKBACK_TOKEN": made["client"]})
    assert done.returncode in (1, 2) and re.search(r"token of clients|run it as root", done.stderr), done


def test_a_role_that_may_not_is_told(client, hub):
    from fake_hub import Answer
    hub.routes["GET /api/v1/snapshots"] = Answer({"title": "Forbidden", "status": 403, "kind": "unauthorized",
                                                  "detail": "the token is of a role that may not do this"}, status=403)
    done = client("snapshot", "list")
    assert done.returncode == 1 and "role" in done.stderr, done
