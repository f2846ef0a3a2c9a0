// Connection: one client and its requests, on any stream socket.
//
// Where the socket came from does not matter: a server accepted it and the client is yet to shake hands, or it is one
// end of a pair whose other end is a kernel that was told everything already.
//
// One thread serves the connection: it receives many requests at a time, answers short ones itself when the device is
// quick (see inline_policy.h), hands the rest to workers, and sends answers in batches (see outbox.h). What the device
// lends is sent from where it lies; a send that turns out slow, because it had to be fetched, counts like a slow
// operation. The thread never waits for the client in a send: its only waits are receiving, when nothing else is going
// on, and poll. WRITEs that arrived together and go
// on one where the other ends are one write of the device. Answers go out in the order in which they are ready. Within
// the workers all connections take turns, and so do a connection's reads and its changes.
//
// A client that breaks the protocol is hung up on, after the requests before that were carried out and answered.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "native/block/device.h"
#include "native/nbd/counters.h"
#include "native/nbd/inline_policy.h"
#include "native/nbd/negotiation.h"
#include "native/nbd/outbox.h"
#include "native/nbd/session.h"
#include "native/nbd/wake_event.h"
#include "native/nbd/worker_pool.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd {

class Connection {
 public:
  struct Parts {
    UniqueFd socket;                 // a connected stream socket
    std::shared_ptr<Device> device;  // serves every request
    WorkerPool& workers;             // must outlive the connection
  };

  // A client that is yet to shake hands.
  static Result<std::unique_ptr<Connection>> WithHandshake(Parts parts, const ExportInfo& info);
  // A client that goes straight on to requests.
  static Result<std::unique_ptr<Connection>> InTransmission(Parts parts, const Session& session);

  // Serves until the client is done or gone, or Stop was called. When it returns, every operation has ended (not only
  // its answer been given up), and the client has been hung up on. Called once, by the thread that is to do the work.
  void Serve();

  // Makes Serve return soon: what the client has sent is still carried out, but nothing more is taken from it. Any
  // thread, any number of times.
  void Stop();

  const Counters& counters() const { return counters_; }

  // For workers. Runs a request, or a row of WRITEs (see operation.h).
  void RunOnWorker(Request& first);

 private:
  Connection(Parts parts, WakeEvent wake);

  bool Consume();
  bool ConsumeHandshake();
  bool ConsumeRequests();
  bool TakeRequest();
  void TakePayload(Request& request);
  void Dispatch(Request* request);
  bool JoinsRow(const Request& request) const;
  void DispatchRow();
  void ExecuteInline(Request& first, uint64_t length_bytes);
  void SendToWorkers(Request* first);
  bool KeepPayload(Request* request);
  void Answer(Request* request);
  void AnswerRefused(Request* request, const Refusal& refusal);
  void RefusePayload(Request* request, const Refusal& refusal);
  void SkipPayload();
  void AnswerHandshake();
  void SubmitPooled();
  // Calls send, which sends what is yet to be sent, batch_bytes of it or so.
  template <typename Send>
  void TimeSending(uint64_t batch_bytes, const Send& send);
  bool ReplaceLent(Request& request, bool part_sent);
  void HangUp();
  bool Receive(int flags);
  void Wait(const Outbox::Outlook& outlook);
  std::span<const std::byte> input() const { return {input_.get() + input_begin_, input_end_ - input_begin_}; }

  const UniqueFd socket_;
  const std::shared_ptr<Device> device_;
  WorkerPool& workers_;
  const WakeEvent wake_;
  std::atomic<bool> stopping_{false};
  Counters counters_;
  Outbox outbox_;
  Session session_;  // constant while requests are under way

  // ---- The connection's own thread only ----
  std::optional<Negotiation> negotiation_;    // until the handshake is done
  std::vector<std::byte> handshake_output_;   // what negotiation_ wants sent
  bool reading_ = true;                       // more input may come
  const std::unique_ptr<std::byte[]> input_;  // kInputBytes; [input_begin_, input_end_) is yet to be consumed
  size_t input_begin_ = 0;
  size_t input_end_ = 0;
  Lenders lenders_;  // of what is in answers that are not sent yet
  InlinePolicy policy_;
  InlinePolicy::Clock::time_point inline_start_;  // of the operation to come, if it runs on this thread
  uint64_t skipped_bytes_ = 0;                    // of the input to come: the payload of a refused WRITE
  Request* refused_ = nullptr;  // that WRITE: clients expect no answer before they have sent all of it
  Request* filling_ = nullptr;  // a WRITE whose payload has arrived in part
  size_t filled_bytes_ = 0;
  RequestFifo row_;  // WRITEs that are to be one, before anything that came after them
  uint64_t row_bytes_ = 0;
  RequestFifo answered_;  // yet to be delivered
  uint64_t answered_bytes_ = 0;
  // Requests for workers. Reads and changes have a lane each, so that neither waits for a row of the other.
  struct Pooled {
    TaskFifo tasks;  // yet to be submitted
    Lane lane;
  };
  Pooled pooled_reads_;
  Pooled pooled_changes_;
  size_t pooled_count_ = 0;  // yet to be submitted, of both
  uint64_t pooled_bytes_ = 0;
};

}  // namespace rootloom::nbd
