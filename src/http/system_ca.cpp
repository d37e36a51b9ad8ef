#include "http/system_ca.hpp"

#include <unistd.h>

#include <cstdlib>

namespace lookback::http {
namespace {

constexpr const char* kKnownPlaces[] = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Fedora, RHEL and their kin
    "/etc/pki/tls/certs/ca-bundle.crt",                   // older ones of them, Amazon Linux
    "/etc/ssl/ca-bundle.pem",                             // SUSE
    "/etc/ssl/cert.pem",                                  // Alpine without its CA package
};

}  // namespace

std::string system_ca_file(const char* from_environment,
                           const std::function<bool(const char*)>& is_readable) {
  // A file that the user names is used even if it cannot be read: that is an error to be told.
  if (from_environment != nullptr && *from_environment != '\0') return from_environment;
  for (const char* place : kKnownPlaces)
    if (is_readable(place)) return place;
  return {};
}

const std::string& system_ca_file() {
  static const std::string file = system_ca_file(
      std::getenv("SSL_CERT_FILE"), [](const char* path) { return access(path, R_OK) == 0; });
  return file;
}

}  // namespace lookback::http
