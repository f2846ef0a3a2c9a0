// Operations: what a request does to a device, and the answer to it as bytes.
#pragma once

#include <string_view>

#include "native/block/device.h"
#include "native/nbd/request.h"
#include "native/nbd/session.h"

namespace rootloom::nbd {

// Runs a request that CheckRequest let pass, and leaves the encoded answer in it; a failure of the device is an answer
// too. FLUSH and FUA are answered after the device said that the data is durable. Blocks for as long as the device
// does. Any thread; requests are independent of each other. With lenders, what is read may be lent by the device, and
// is part of the answer until they release it. REQUIRES: command is not DISC.
void Execute(Device& device, const Session& session, Request& request, Lenders* lenders = nullptr);

// Puts what the device reads in the place of what it has lent; the answer stays as it is. For an answer of which a part
// is sent; of any other Execute makes a new one.
Status ReadLent(Device& device, Request& request);

// The same for a row of WRITEs with the same flags, each beginning where the one before ends: first, and what it leads
// to by Request::next. They are one write of the device, and each is answered as if it had been one of its own.
// REQUIRES: at most kMaxRowPieces of them
void ExecuteRow(Device& device, const Session& session, Request& first);

// Leaves an error as the answer. The message reaches clients that negotiated structured replies.
void Refuse(const Session& session, Request& request, WireError error, std::string_view message);

// What a client may be told of a device's failure: the protocol allows eight numbers only.
WireError ToWireError(const Request& request, const Failure& failure);

}  // namespace rootloom::nbd
