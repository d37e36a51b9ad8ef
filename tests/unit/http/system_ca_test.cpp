#include "http/system_ca.hpp"

#include <catch2/catch.hpp>
#include <string_view>

using lookback::http::system_ca_file;

TEST_CASE("the environment's certificate file goes before the distribution's, readable or not") {
  const auto all = [](const char*) { return true; };
  CHECK(system_ca_file("/my/ca.pem", all) == "/my/ca.pem");
  CHECK(system_ca_file("/my/ca.pem", [](const char*) { return false; }) == "/my/ca.pem");
  CHECK(system_ca_file("", all) == "/etc/ssl/certs/ca-certificates.crt");
}

TEST_CASE("the distributions' places for certificates are tried in turn") {
  const auto only = [](std::string_view place) {
    return [place](const char* path) { return place == path; };
  };
  for (const char* place :
       {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"})
    CHECK(system_ca_file(nullptr, only(place)) == place);
  CHECK(system_ca_file(nullptr, only("/nowhere")).empty());
}
