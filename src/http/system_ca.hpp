#pragma once

#include <functional>
#include <string>

namespace lookback::http {

/// The file of certificate authorities that this machine trusts, or empty if none is found (then
/// the library's built-in place applies). A static binary runs on distributions that keep the file
/// in different places; SSL_CERT_FILE goes before all of them, as with every OpenSSL program.
/// `is_readable` is asked about the known places, in order of preference.
std::string system_ca_file(const char* from_environment,
                           const std::function<bool(const char*)>& is_readable);

/// The same, of this process: looked up once, then remembered. May be called by any thread.
const std::string& system_ca_file();

}  // namespace lookback::http
