#pragma once
// The routes of an API as a table: what a daemon answers is read in one place, by people, by its tests and by the server.

#include <span>

#include "lookback/http/server.hpp"

namespace lookback::http {

/// `Context`: what the handlers of a daemon work on.
template <class Context>
struct Route {
  std::string_view method, pattern;  ///< as in RouteInfo, like all but the handler
  Role role = Role::client;
  RunsOn runs_on = RunsOn::worker;
  std::string_view summary;
  Response (*handler)(Request&, Context&) = nullptr;
  BodyRule body{};
};

/// Before server.start(). The table and the context outlive the server.
template <class Context>
void mount(Server& server, std::span<const Route<Context>> routes, Context& context) {
  for (const Route<Context>& route : routes) {
    server.add({route.method, route.pattern, route.role, route.runs_on, route.summary, route.body},
               [handler = route.handler, &context](Request& request) { return handler(request, context); });
  }
}

}  // namespace lookback::http
