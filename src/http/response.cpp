#include <ctime>

#include "lookback/base/clock.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/time.hpp"
#include "lookback/http/status.hpp"
#include "response_head.hpp"

namespace lookback::http {

namespace {

/// IMF-fixdate (RFC 9110 section 5.6.7), whatever the locale.
std::string http_date(int64_t now_ns) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t seconds = now_ns / kNsPerSecond;
  tm t{};
  ::gmtime_r(&seconds, &t);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[t.tm_wday], t.tm_mday,
                     kMonths[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

/// Captured data is for programs: a browser must neither guess a type, nor keep it, nor show it in a
/// page of somebody else's.
/// A response that sets one of these itself has its own.
constexpr std::pair<const char*, std::string_view> kGuardHeaders[] = {
    {"X-Content-Type-Options", "nosniff"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"},
};

/// Header values come from names and messages too: a line break in one would start another header.
std::string clean_value(std::string_view value) {
  std::string out(value);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return out;
}

}  // namespace

std::optional<std::string> Request::query_value(const std::string& key) const {
  const auto it = query.find(key);
  if (it == query.end()) return std::nullopt;
  return it->second;
}

std::string Request::header(const std::string& lower_case_name) const {
  const auto it = headers.find(lower_case_name);
  return it == headers.end() ? std::string() : it->second;
}

Response Response::json(std::string text, int status) {
  Response response;
  response.status = status;
  response.body = std::move(text);
  return response;
}

Response Response::text(std::string text, int status) {
  Response response = json(std::move(text), status);
  response.content_type = "text/plain; charset=utf-8";
  return response;
}

Response Response::problem(const Error& error) {
  return problem(error, status_of(error.kind));
}

Response Response::problem(const Error& error, int status) {
  return plain_problem(status, error.message, to_string(error.kind));
}

Response plain_problem(int status, std::string_view detail, std::string_view kind) {
  const Json document = {{"type", "about:blank"},
                         {"title", reason_phrase(status)},
                         {"status", status},
                         {"detail", detail},
                         {"kind", kind}};
  // Details quote what came from outside, which need not be UTF-8.
  Response response =
      Response::json(dump_json(document) + "\n", status);
  response.content_type = "application/problem+json";
  if (status == 401) response.headers["WWW-Authenticate"] = "Bearer realm=\"lookback\"";
  if (status == 503) response.headers["Retry-After"] = "10";
  return response;
}

bool has_no_body(int status) {
  return status == 204 || status == 304 || status < 200;
}

std::string format_response_head(const Response& response, const HeadOptions& options) {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nServer: lookback\r\n", response.status,
                  reason_phrase(response.status), http_date(Clock::system().realtime_ns()));
  if (!has_no_body(response.status) && !response.content_type.empty())
    head += fmt::format("Content-Type: {}\r\n", clean_value(response.content_type));
  for (const auto& [name, value] : kGuardHeaders) {
    if (!response.headers.contains(name)) head += fmt::format("{}: {}\r\n", name, value);
  }
  for (const auto& [name, value] : response.headers)
    head += fmt::format("{}: {}\r\n", clean_value(name), clean_value(value));
  if (options.framing == BodyFraming::chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (options.framing == BodyFraming::length && options.length) {
    head += fmt::format("Content-Length: {}\r\n", *options.length);
  }
  if (!options.keep_alive) {
    head += "Connection: close\r\n";
  } else if (options.version < 11) {
    head += "Connection: keep-alive\r\n";
  }
  head += "\r\n";
  return head;
}

}  // namespace lookback::http
