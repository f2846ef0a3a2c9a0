// The one place that includes the Node-API C++ wrapper.
#pragma once

#include <napi.h>
