#include "cli/hub_client.hpp"

#include <algorithm>
#include <cstdlib>

#include "cli/exit_status.hpp"
#include "cli/json_text.hpp"
#include "cli/token.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/names.hpp"
#include "lookback/http/url.hpp"

namespace lookback::cli {

namespace {

/// More is nothing that a hub has, and no hub may fill a client's memory.
constexpr size_t kMostListed = 100'000;

Result<std::string> token_for(const HubSettings& settings, const std::string& url) {
  TRY_ASSIGN(TokenFile token, given_token(settings.token_file, settings.token_file_origin));
  if (!token.warning.empty()) report_note(token.warning);
  return token.token.empty() ? machine_token_for(url) : std::move(token.token);
}

}  // namespace

void add_hub_options(Command& command, HubSettings& settings) {
  command.settings_file = SettingsFile::client;
  command.text("--hub", "URL", settings.url, "The hub; by default http://127.0.0.1:7400").setting =
      true;
  Option& token =
      command.text("--token-file", "FILE", settings.token_file,
                   "A file with the hub's token; LOOKBACK_TOKEN may have the token itself");
  token.setting = true;
  token.origin = &settings.token_file_origin;
  command
      .text("--ca-file", "FILE", settings.ca_file,
            "Certificates (PEM) to trust in place of the system's, for an https hub")
      .setting = true;
}

Result<HubClient> HubClient::create(const HubSettings& settings, Options options) {
  TRY(http::parse_url(settings.url, options.who));
  std::string url = settings.url;
  while (url.ends_with('/')) url.pop_back();
  http::ClientOptions client_options;
  client_options.base_url = url;
  client_options.proxy = http::Proxy::environment;
  client_options.ca_file = settings.ca_file;
  client_options.total_timeout_ms = options.total_timeout_ms;
  client_options.stall_timeout_ms = options.stall_timeout_ms;
  TRY_ASSIGN(std::string token, token_for(settings, url));
  // A command that waits for long may outlive a token that is replaced.
  client_options.token_source = [settings, url, token](bool refused) mutable -> Result<std::string> {
    if (refused) {
      TRY_ASSIGN(token, token_for(settings, url));
    }
    return token;
  };
  TRY_ASSIGN(http::Client client, http::Client::create(std::move(client_options)));
  return HubClient(std::move(client), std::move(url), std::move(options));
}

Error HubClient::explain(Error error) const {
  if (error.kind == ErrorKind::unreachable) {
    return {error.kind, fmt::format("cannot reach the {}: {}: {}", options_.who, error.message,
                                    options_.start_hint)};
  }
  if (error.kind == ErrorKind::unauthorized) {
    error.message +=
        ": give the token with --token-file, LOOKBACK_TOKEN_FILE or LOOKBACK_TOKEN; that of a daemon "
        "on this machine is found by its user and, where root started it, by root (sudo)";
  }
  return error;
}

Result<http::ClientResponse> HubClient::exchange(const std::string& method, const std::string& path,
                                                 const std::string& body) {
  auto response = client_.request(method, path, body);
  if (!response) return tl::make_unexpected(explain(response.error()));
  if (response->status >= 400) return tl::make_unexpected(explain(http::Client::error_of(*response, url_ + path)));
  return response;
}

Result<Json> HubClient::get(const std::string& path) {
  TRY_ASSIGN(const http::ClientResponse response, exchange("GET", path, ""));
  return parse_json(response.body, fmt::format("the answer of {}{}", url_, path));
}

Result<Json> HubClient::get_pages(const std::string& path, const std::string& key) {
  Json all = Json::array();
  std::string cursor;
  for (;;) {
    TRY_ASSIGN(Json page, get(cursor.empty() ? path : path + "?cursor=" + http::url_encode(cursor)));
    if (!page.is_object()) return fail(ErrorKind::corrupt, "the answer of {}{} is not an object", url_, path);
    const auto part = page.find(key);
    if (part == page.end() || !part->is_array())
      return fail(ErrorKind::corrupt, "the answer of {}{} has no list '{}'", url_, path, key);
    if (all.size() + part->size() > kMostListed)
      return fail(ErrorKind::corrupt, "{}{} lists more than {} elements", url_, path, kMostListed);
    for (Json& one : *part) all.push_back(std::move(one));
    TRY_ASSIGN(const std::string next, json_get_or<std::string>(page, "next", ""));
    if (next.empty()) return Json{{key, std::move(all)}};
    if (next <= cursor) return fail(ErrorKind::corrupt, "the pages of {}{} go round in circles", url_, path);
    cursor = next;
  }
}

Result<Json> HubClient::post(const std::string& path, const Json& body) {
  TRY_ASSIGN(const http::ClientResponse response,
             exchange("POST", path, dump_json(body)));
  return parse_json(response.body, fmt::format("the answer of {}{}", url_, path));
}

Result<Json> HubClient::answer_or_nothing(const http::ClientResponse& response,
                                          const std::string& path) const {
  if (response.body.empty()) return Json();
  return parse_json(response.body, fmt::format("the answer of {}{}", url_, path));
}

Result<Json> HubClient::post_nothing(const std::string& path) {
  TRY_ASSIGN(const http::ClientResponse response, exchange("POST", path, "{}"));
  return answer_or_nothing(response, path);
}

Result<Json> HubClient::remove(const std::string& path) {
  TRY_ASSIGN(const http::ClientResponse response, exchange("DELETE", path, ""));
  return answer_or_nothing(response, path);
}

std::string unreleased_note(const Json& answer) {
  const auto list = answer.is_object() ? answer.find("unreleased") : answer.end();
  if (!answer.is_object() || list == answer.end() || !list->is_array() || list->empty()) return {};
  std::string nodes;
  for (const Json& one : *list) {
    if (!nodes.empty()) nodes += ", ";
    nodes += fmt::format("{} ({})", text_of(one, "node"), text_of(one, "reason"));
  }
  return fmt::format(
      "not reached: {}; it may keep the frozen window until the hub hears from it again, or for a day at most",
      nodes);
}

Result<http::ClientResponse> HubClient::download(const std::string& path, const Sink& sink,
                                                 const std::atomic<bool>* cancelled) {
  auto response = client_.download(path, sink, cancelled);
  if (!response) return tl::make_unexpected(explain(response.error()));
  return response;
}

Result<Json> HubClient::upload(const std::string& path, const Source& source,
                               const std::atomic<bool>* cancelled) {
  auto answer = client_.upload("POST", path, source, cancelled);
  if (!answer) return tl::make_unexpected(explain(answer.error()));
  return parse_json(*answer, fmt::format("the answer of {}{}", url_, path));
}

Result<std::string> snapshot_path(const std::string& name, std::string_view rest) {
  TRY(check_snapshot_name(name));
  return fmt::format("/api/v1/snapshots/{}{}", http::url_encode(name), rest);
}

}  // namespace lookback::cli
