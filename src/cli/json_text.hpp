#pragma once
// Members of a daemon's JSON answers as text for people. A daemon of another version may lack some:
// those read as empty. For .cpp files only (json.hpp is large).

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "lookback/base/json.hpp"

namespace lookback::cli {

[[nodiscard]] std::string text_of(const Json& object, std::string_view key);
[[nodiscard]] int64_t number_of(const Json& object, std::string_view key, int64_t otherwise = 0);
[[nodiscard]] bool truth_of(const Json& object, std::string_view key, bool otherwise = false);
/// An array's or object's member; an empty array where there is none.
[[nodiscard]] const Json& list_of(const Json& object, std::string_view key);
/// An object's member; null where there is none.
[[nodiscard]] const Json& member_of(const Json& object, std::string_view key);
/// The time in a member, to whole seconds: "2026-03-01T12:00:00Z"; "-" where there is none.
[[nodiscard]] std::string time_of(const Json& object, std::string_view key);
/// The same to the last digit that is not zero.
[[nodiscard]] std::string exact_time_of(const Json& object, std::string_view key);

/// "1,234,567"
[[nodiscard]] std::string grouped(uint64_t number);
/// "1 node", "1,234 nodes": nouns that take an s.
[[nodiscard]] std::string counted(uint64_t number, std::string_view noun);
/// "+1.250 ms ± 0.080 ms"
[[nodiscard]] std::string clock_text(int64_t offset_ns, int64_t error_ns);
/// How long ago, for people: "3 s ago".
[[nodiscard]] std::string ago(std::string_view time, int64_t now_ns);
/// For programs: indented, with a line end. Bytes that are not UTF-8 are replaced.
[[nodiscard]] std::string pretty(const Json& value);

/// The names of a list's objects, one a line, for scripts and completion. One that `check` refuses
/// cannot be a name: it is left out, and that is noted.
[[nodiscard]] Result<> print_names(const Json& list, std::string_view what,
                                   const std::function<Result<>(std::string_view)>& check);

}  // namespace lookback::cli
