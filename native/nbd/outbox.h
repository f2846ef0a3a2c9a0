// Outbox: the answers of one connection on their way to the client.
//
// Whoever finishes a request puts its answer here and, unless another thread is at it, sends whatever has gathered in
// one system call: under load one thread sends in large batches while the others go on working. Nobody ever waits for
// the client. When the socket takes no more, the rest stays queued until the connection's own thread, which polls, is
// told that there is room again. So a client that does not read keeps no worker from serving others.
//
// The outbox also owns the request objects, and counts those under way: from Expect or Deliver until the answer is sent
// or dropped. Past a number of requests or bytes there is no room, and the connection stops reading (back-pressure).
// There is none either while the socket is full and a good deal waits for it: what is made before it can be sent only
// pushes other things out of the processor's cache. For the same reason the object used last is the next to be used.
//
// Data that a device has lent may turn out not to be there when the socket takes it. Then it is read after all, by the
// thread that sends, and where that fails, the error is the answer; if the client has a part of the data, it is hung up
// on, since nothing else tells it that there is no more.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "native/nbd/request.h"
#include "native/nbd/wake_event.h"

namespace rootloom::nbd {

class Outbox {
 public:
  // How things stand, for the connection's thread.
  struct Outlook {
    bool idle;     // nothing is under way, and no other thread uses the outbox
    bool room;     // more requests may be taken in
    bool blocked;  // answers wait for the socket to take more
    bool broken;   // the client is gone; answers are dropped
  };

  // Makes an answer with lent data one without, and changes nothing else of it if a part of it was sent. False when
  // that cannot be done. Called by any thread.
  using ReplaceLent = std::function<bool(Request& request, bool part_sent)>;

  // Neither the socket nor the event is owned; both must outlive the outbox.
  Outbox(int socket, const WakeEvent& wake, ReplaceLent replace_lent)
      : socket_(socket), wake_(wake), replace_lent_(std::move(replace_lent)) {}

  // ---- The connection's own thread ----

  // A request to fill. It comes back by Deliver, or by Expect and Complete.
  Request* Take();
  // Gives back a request that will not be answered.
  void Discard(Request* request) { spare_.PushFront(request); }
  // Announces requests that workers will complete.
  void Expect(size_t count, uint64_t cost_bytes);
  // Sends answers of requests that were not announced. Leaves answered empty.
  void Deliver(RequestFifo& answered);
  // Says how things stand. Unless the outbox is idle, the wake event is set as soon as that changes in a way that
  // matters: when it blocks or breaks, and, unless the thread waits for input, when something is sent.
  Outlook Look(bool waits_for_input);
  // Sends on, after the socket was found writable.
  void Resume();
  // Drops what is unsent, now and from here on.
  void Break();

  // ---- Any thread ----

  // Sends the answers of announced requests: of first, and what it leads to by Request::next. The last use of the
  // outbox and the connection by that thread.
  void Complete(Request* first);

 private:
  enum class Waiting : uint8_t { kNo, kForTrouble, kForAnyChange };

  void Queue(Request* request);
  void Send(std::unique_lock<std::mutex>& lock);
  bool ReplaceAllLent(size_t request_count, std::unique_lock<std::mutex>& lock);
  void RetireSent(size_t sent_bytes);
  void DropUnsent();
  void Release(Request* request);

  const int socket_;
  const WakeEvent& wake_;
  const ReplaceLent replace_lent_;
  RequestFifo spare_;                          // the connection's own thread only
  std::vector<std::unique_ptr<Request>> all_;  // the connection's own thread only

  std::mutex mutex_;
  // ---- protected by mutex_ ----
  RequestFifo unsent_;           // the sender alone takes from its front
  size_t front_sent_bytes_ = 0;  // of the first unsent answer
  uint64_t unsent_bytes_ = 0;    // of answers that wait or are being sent
  RequestFifo free_;
  size_t under_way_ = 0;
  uint64_t under_way_bytes_ = 0;
  size_t kept_bytes_ = 0;  // of all requests
  bool sending_ = false;   // a thread is in Send, with or without the lock
  bool blocked_ = false;
  bool broken_ = false;
  Waiting waiting_ = Waiting::kNo;
};

}  // namespace rootloom::nbd
