#include "lookback/http/url.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

namespace lookback::http {

namespace {

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

struct TextDeleter {
  void operator()(char* text) const { curl_free(text); }
};

std::optional<std::string> part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return std::nullopt;
  const std::unique_ptr<char, TextDeleter> owner(text);
  return std::string(text);
}

}  // namespace

std::string Url::base() const {
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}{}", scheme, v6 ? "[" : "", host, v6 ? "]" : "", port, path);
}

Result<Url> parse_url(std::string_view text, std::string_view whose) {
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorKind::invalid, "'{}' is not the URL of a {} ({}): write it like http://127.0.0.1:7400", text, whose, why);
  };
  const std::unique_ptr<CURLU, UrlDeleter> url(curl_url());
  LOOKBACK_CHECK(url != nullptr);
  if (const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), CURLU_NON_SUPPORT_SCHEME); code != CURLUE_OK)
    return wrong(curl_url_strerror(code));
  Url parsed;
  parsed.scheme = part_of(url.get(), CURLUPART_SCHEME).value_or("");
  if (parsed.scheme != "http" && parsed.scheme != "https") return wrong("it begins with http:// or https://");
  for (const CURLUPart part : {CURLUPART_USER, CURLUPART_PASSWORD}) {
    if (part_of(url.get(), part)) return wrong("a user or a password has no meaning in it");
  }
  for (const CURLUPart part : {CURLUPART_QUERY, CURLUPART_FRAGMENT}) {
    if (part_of(url.get(), part)) return wrong("'?' and '#' have no meaning in it");
  }
  parsed.host = part_of(url.get(), CURLUPART_HOST).value_or("");
  if (parsed.host.starts_with('[')) parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  std::transform(parsed.host.begin(), parsed.host.end(), parsed.host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (parsed.host.empty()) return wrong("it names no host");
  const std::string port = part_of(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT).value_or("");
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), parsed.port);
  if (error != std::errc() || end != port.data() + port.size() || parsed.port == 0) return wrong("its port is not a number from 1 to 65535");
  parsed.path = part_of(url.get(), CURLUPART_PATH).value_or("");
  while (parsed.path.ends_with('/')) parsed.path.pop_back();
  return parsed;
}

}  // namespace lookback::http
