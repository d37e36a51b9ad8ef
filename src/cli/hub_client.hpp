#pragma once
// The client's way to a daemon: which one, with which token, and HTTP answers turned into Results.

#include <atomic>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "cli/command.hpp"
#include "lookback/base/result.hpp"
#include "lookback/http/client.hpp"

namespace lookback::cli {

struct HubSettings {
  std::string url = "http://127.0.0.1:7400";
  std::string token_file;
  Origin token_file_origin = Origin::nowhere;
  std::string ca_file;
};

/// --hub, --token-file, --ca-file, and the client's settings files. `settings` lives as long as the
/// command's action.
void add_hub_options(Command& command, HubSettings& settings);

/// One thread.
class HubClient {
 public:
  struct Options {
    std::string who = "hub";  ///< in messages
    std::string start_hint = "is it running? --hub or LOOKBACK_HUB names another";
    int64_t total_timeout_ms = 30'000;  ///< 0 for streams
    int64_t stall_timeout_ms = 30'000;  ///< no byte for this long ends it
  };
  [[nodiscard]] static Result<HubClient> create(const HubSettings& settings, Options options);
  [[nodiscard]] static Result<HubClient> create(const HubSettings& settings) {
    return create(settings, Options());
  }

  /// Errors: kind by the answer's status; unreachable only when the daemon itself did not answer.
  [[nodiscard]] Result<nlohmann::json> get(const std::string& path);
  /// A list that comes in pages, as one object with `key` alone. corrupt: the pages do not end.
  [[nodiscard]] Result<nlohmann::json> get_pages(const std::string& path, const std::string& key);
  [[nodiscard]] Result<nlohmann::json> post(const std::string& path, const nlohmann::json& body);
  /// Their answers may be empty: null then.
  [[nodiscard]] Result<nlohmann::json> remove(const std::string& path);
  [[nodiscard]] Result<nlohmann::json> post_nothing(const std::string& path);
  using Sink = std::function<Result<>(std::span<const std::byte>)>;
  [[nodiscard]] Result<http::ClientResponse> download(const std::string& path, const Sink& sink,
                                                      const std::atomic<bool>* cancelled);
  using Source = std::function<Result<size_t>(std::span<std::byte>)>;
  [[nodiscard]] Result<nlohmann::json> upload(const std::string& path, const Source& source,
                                              const std::atomic<bool>* cancelled);
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  HubClient(http::Client client, std::string url, Options options)
      : client_(std::move(client)), url_(std::move(url)), options_(std::move(options)) {}
  [[nodiscard]] Result<http::ClientResponse> exchange(const std::string& method,
                                                      const std::string& path,
                                                      const std::string& body);
  [[nodiscard]] Error explain(Error error) const;
  [[nodiscard]] Result<nlohmann::json> answer_or_nothing(const http::ClientResponse& response,
                                                         const std::string& path) const;

  http::Client client_;
  std::string url_;
  Options options_;
};

/// What the hub's answer to the end of a snapshot says of nodes that could not be told, as a sentence; empty: none.
[[nodiscard]] std::string unreleased_note(const nlohmann::json& answer);

/// "/api/v1/snapshots/NAME" + rest, after a check of the name.
[[nodiscard]] Result<std::string> snapshot_path(const std::string& name,
                                                std::string_view rest = {});

}  // namespace lookback::cli
