// Lines of OS events, as an archive made elsewhere may have them: parsing, and the tables that they
// build.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lookback/context/owners.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lookback::context;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  OwnerTable table;
  Query query;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const auto record = parse_record(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!record) continue;
    table.apply(*record);
    if (record->local_port != 0) {
      query = {record->protocol,
               record->local,
               record->remote,
               record->local_port,
               record->remote_port,
               record->time_ns < 0 ? 0 : record->time_ns,
               false,
               0,
               {}};
    }
    for (const bool opens : {false, true}) {
      query.opens = opens;
      const auto socket = table.find(query);
      // What is found can be asked about any time.
      if (socket) {
        (void)socket->owner_at(query.time_ns);
        (void)socket->owner_at(INT64_MAX);
      }
    }
  }
  return 0;
}
