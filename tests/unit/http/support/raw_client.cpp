#include "raw_client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace lookback::http::test {

RawClient::RawClient(uint16_t port, int receive_buffer)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  REQUIRE(fd_.valid());
  if (receive_buffer > 0)
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
}

bool RawClient::try_send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

void RawClient::send(std::string_view text) {
  REQUIRE(try_send(text));
}

std::string RawClient::read_all(size_t limit, int timeout_ms) {
  std::string out;
  char buffer[65536];
  while (out.size() < limit) {
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, timeout_ms) <= 0) return out;
    const ssize_t n = ::recv(fd_.get(), buffer, std::min(sizeof buffer, limit - out.size()), 0);
    if (n < 0 && errno == ECONNRESET) was_reset_ = true;
    if (n <= 0) return out;
    out.append(buffer, static_cast<size_t>(n));
  }
  return out;
}

std::string RawClient::read_response(int timeout_ms) {
  std::string out;
  while (out.find("\r\n\r\n") == std::string::npos) {
    const std::string more = read_all(1, timeout_ms);
    if (more.empty()) return out;
    out += more;
  }
  const auto field = out.find("Content-Length: ");
  if (field == std::string::npos) return out;
  const size_t length = std::strtoull(out.c_str() + field + 16, nullptr, 10);
  if (length > 0) out += read_all(length, timeout_ms);
  return out;
}

void RawClient::finish_sending() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void RawClient::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd_.reset();
}

void make_certificate(const std::filesystem::path& certificate, const std::filesystem::path& key,
                      const char* names) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pkey(EVP_EC_gen("P-256"),
                                                                 &EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> x509(X509_new(), &X509_free);
  REQUIRE(pkey);
  X509_set_version(x509.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
  X509_set_pubkey(x509.get(), pkey.get());
  X509_NAME* name = X509_get_subject_name(x509.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("lookback test"), -1, -1, 0);
  X509_set_issuer_name(x509.get(), name);
  const auto add_extension = [&](int id, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, x509.get(), x509.get(), nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value);
    REQUIRE(extension != nullptr);
    X509_add_ext(x509.get(), extension, -1);
    X509_EXTENSION_free(extension);
  };
  add_extension(NID_subject_alt_name, names);
  add_extension(NID_basic_constraints, "critical,CA:TRUE");
  REQUIRE(X509_sign(x509.get(), pkey.get(), EVP_sha256()) > 0);
  const auto write = [](const std::filesystem::path& path, auto writer) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "wb"), &std::fclose);
    REQUIRE(file);
    REQUIRE(writer(file.get()) == 1);
  };
  write(certificate, [&](FILE* file) { return PEM_write_X509(file, x509.get()); });
  write(key, [&](FILE* file) {
    return PEM_write_PrivateKey(file, pkey.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
}

}  // namespace lookback::http::test
