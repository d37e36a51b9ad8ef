#include "lookback/base/version.hpp"

namespace lookback {
std::string_view version() { return LOOKBACK_VERSION; }
}  // namespace lookback
