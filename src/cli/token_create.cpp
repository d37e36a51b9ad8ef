// lookback token create: tokens for a node or a client, made from the hub's.

#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/output_file.hpp"
#include "cli/token.hpp"
#include "lookback/base/names.hpp"
#include "lookback/http/roles.hpp"

namespace lookback::cli {

namespace {

struct TokenCreateOptions {
  std::string role, node, token_file, output = "-";
  Origin token_file_origin = Origin::nowhere;
};

Result<std::string> token_of_hub(const TokenCreateOptions& options) {
  TRY_ASSIGN(TokenFile file, given_token(options.token_file, options.token_file_origin));
  if (file.token.empty()) {
    auto machine = read_token_file(machine_token_file());
    if (!machine)
      return tl::make_unexpected(machine.error().in("the hub's token is needed: give its file with --token-file"));
    file = std::move(*machine);
  }
  if (!file.warning.empty()) report_note(file.warning);
  TRY(check_hub_token(file.token));
  return std::move(file.token);
}

Result<int> run_token_create(const TokenCreateOptions& options) {
  const bool of_node = options.role == "node";
  if (of_node && options.node.empty())
    return fail(ErrorKind::invalid, "the token of a node needs the node's name: --node NAME");
  if (!of_node && !options.node.empty())
    return fail(ErrorKind::invalid, "--node goes with --role node only: a client's token names no node");
  if (of_node) TRY(check_node_name(options.node));
  TRY_ASSIGN(const std::string hub, token_of_hub(options));
  const std::string line = (of_node ? http::node_token(hub, options.node) : http::client_token(hub)) + "\n";
  TRY_ASSIGN(OutputFile file, OutputFile::open(options.output));
  TRY(file.write(std::as_bytes(std::span(line))));
  TRY(file.commit(true));
  return kExitDone;
}

Command create_command() {
  Command command("create", "make a token from the hub's");
  auto options = std::make_shared<TokenCreateOptions>();
  command.description =
      "A token with the role 'node' can report as the node of that name and as no other. The hub shows this node no other token. "
      "The token reads no snapshots. The role 'client' is for people and scripts: it can make, read and delete snapshots, but it "
      "cannot report as a node or make tokens.\n"
      "\n"
      "The same role and name always give the same token, and the hub knows it without being told. All of them end when the hub "
      "gets another token.";
  command.choice("--role", "node|client", options->role, "Whose token it is").required = true;
  command.text("--node", "NODE", options->node, "The name of the node, for the role 'node'");
  Option& token = command.text("--token-file", "FILE", options->token_file,
                               "A file with the hub's token; by default the one of this machine");
  token.setting = true;
  token.origin = &options->token_file_origin;
  command.text("-o,--output", "FILE", options->output,
               "Where to write it; a new file is readable by its owner only; by default - for standard output");
  command.examples = {
      {"lookback token create --role node --node web-1 -o web-1.token", "For a node; copy the file to it."},
      {"sudo lookback capture --node web-1 --hub https://hub.example:7400 --token-file web-1.token", "Use it there."},
      {"lookback token create --role client -o ops.token", "For people and scripts on other machines."}};
  command.action = [options] { return run_token_create(*options); };
  return command;
}

}  // namespace

Command token_command() {
  Command command("token", "make tokens that may do less than the hub's");
  command.description =
      "The hub's token may do everything. From it are made tokens for single nodes and for clients, which may do less.";
  command.subcommands.push_back(create_command());
  return command;
}

}  // namespace lookback::cli
