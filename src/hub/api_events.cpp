// What happens at the hub, as server-sent events (HTML standard, section 9.2).
#include <charconv>

#include "api.hpp"

namespace lookback::hub {

namespace {

/// A reader of the feed. A number that Last-Event-ID tells stands with the run of the hub that it was given in: "RUN-NUMBER".
class EventStream : public http::Feed {
 public:
  EventStream(EventFeed& events, const std::string& last_event_id) : events_(events), last_(events.last_number()) {
    if (last_event_id.empty()) return;
    const auto known = number_of(last_event_id);
    last_ = known.value_or(0);
    if (!known) text_ += "event: missed\ndata: {\"events\":null}\n\n";
  }
  ~EventStream() override { on_more({}); }

  std::optional<std::string> take() override {
    if (closed_) return std::nullopt;
    const auto batch = events_.after(last_);
    std::string text = std::exchange(text_, {});
    if (batch.missed > 0) text += fmt::format("event: missed\ndata: {{\"events\":{}}}\n\n", batch.missed);
    for (const auto& event : batch.events) {
      text += fmt::format("id: {}-{}\nevent: {}\ndata: {}\n\n", events_.run(), event.number, event.type, event.data);
      last_ = event.number;
    }
    closed_ = batch.closed;
    if (closed_ && text.empty()) return std::nullopt;
    return text;
  }
  std::string keep_alive() const override { return ":\n\n"; }
  void on_more(std::function<void()> wake) override {
    if (listener_) events_.unlisten(*std::exchange(listener_, std::nullopt));
    if (wake) listener_ = events_.listen(std::move(wake));
  }

 private:
  /// Nothing: it is that of another run, so what was missed since is not known.
  [[nodiscard]] std::optional<uint64_t> number_of(std::string_view id) const {
    const std::string before = events_.run() + "-";
    if (!id.starts_with(before)) return std::nullopt;
    id.remove_prefix(before.size());
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
    if (error != std::errc() || end != id.data() + id.size() || number > last_) return std::nullopt;
    return number;
  }

  EventFeed& events_;
  uint64_t last_;
  std::string text_ = ": lookback hub events\n\n";  // goes before all else
  bool closed_ = false;
  std::optional<uint64_t> listener_;
};

http::Response follow(http::Request& request, ApiContext& context) {
  http::Response response;
  response.content_type = "text/event-stream";
  response.feed = std::make_shared<EventStream>(context.events, request.header("last-event-id"));
  return response;
}

using http::Role, http::RunsOn;

const ApiRoute kEventRoutes[] = {
    {"GET", "/api/v1/events", Role::client, RunsOn::worker, "Tells what happens to snapshots and jobs, as it happens.", follow},
};

}  // namespace

ApiTable event_routes() {
  return kEventRoutes;
}

}  // namespace lookback::hub
