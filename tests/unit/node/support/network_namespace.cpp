// The capture tests' namespaces, for this executable too.
#include "unit/capture/support/network_namespace.cpp"  // NOLINT
