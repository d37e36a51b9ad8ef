#include "lookback/http/status.hpp"

#include <algorithm>
#include <iterator>

namespace lookback::http {

namespace {

struct Row {
  int status;
  std::string_view phrase;
  ErrorKind kind = ErrorKind::failed;  // of 400 and above
  bool answers_kind = false;           // the status that a daemon answers with for the kind
};

constexpr Row kRows[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {400, "Bad Request", ErrorKind::invalid, true},
    {401, "Unauthorized", ErrorKind::unauthorized, true},
    {403, "Forbidden", ErrorKind::unauthorized},
    {404, "Not Found", ErrorKind::not_found, true},
    {405, "Method Not Allowed", ErrorKind::invalid},
    {408, "Request Timeout", ErrorKind::unavailable},
    {409, "Conflict", ErrorKind::conflict, true},
    {410, "Gone", ErrorKind::not_found},
    {412, "Precondition Failed", ErrorKind::conflict},
    {413, "Content Too Large", ErrorKind::invalid},
    {414, "URI Too Long", ErrorKind::invalid},
    {415, "Unsupported Media Type", ErrorKind::invalid},
    {416, "Range Not Satisfiable", ErrorKind::invalid},
    {417, "Expectation Failed", ErrorKind::invalid},
    {421, "Misdirected Request", ErrorKind::invalid},
    {422, "Unprocessable Content", ErrorKind::corrupt, true},
    {429, "Too Many Requests", ErrorKind::unavailable},
    {431, "Request Header Fields Too Large", ErrorKind::invalid},
    {500, "Internal Server Error", ErrorKind::failed, true},
    {501, "Not Implemented", ErrorKind::failed},
    {502, "Bad Gateway", ErrorKind::unavailable},
    {503, "Service Unavailable", ErrorKind::unavailable, true},
    {504, "Gateway Timeout", ErrorKind::unavailable},
    {505, "HTTP Version Not Supported", ErrorKind::failed},
    {507, "Insufficient Storage", ErrorKind::no_space, true},
};

const Row* row_of(int status) {
  const Row* row = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& one) { return one.status == status; });
  return row == std::end(kRows) ? nullptr : row;
}

}  // namespace

std::string_view reason_phrase(int status) {
  const Row* row = row_of(status);
  return row == nullptr ? "Status" : row->phrase;
}

ErrorKind kind_of_status(int status) {
  const Row* row = row_of(status);
  return row == nullptr ? ErrorKind::failed : row->kind;
}

int status_of(ErrorKind kind) {
  if (kind == ErrorKind::unreachable) return 502;  // somebody behind the daemon
  const Row* row = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& one) { return one.answers_kind && one.kind == kind; });
  return row == std::end(kRows) ? 500 : row->status;
}

}  // namespace lookback::http
