#include <mutex>
#include "control.h"
namespace tutti {
class ControlThread {};
std::shared_ptr<ControlThread> start_control_thread(Status&) { return std::make_shared<ControlThread>(); }
namespace {
struct Stub final : Control {
  mutable std::mutex m;
  Status cause;
  Status failure() const override {
    std::lock_guard l(m);
    return cause;
  }
  void fail(int, const Status& c) override {
    {
      std::lock_guard l(m);
      if (cause.ok()) cause = c;
    }
    failed_ = true;
  }
  void stalled(const Stall&) override {}
  void timed_out(const Stall& s) override { fail(s.waits_for, Status(Code::timeout, "timed out")); }
  Status goodbye() override { return {}; }
};
}  // namespace
Result<std::unique_ptr<Control>> Control::create(std::shared_ptr<ControlThread>, Options, const Exchange& e) {
  if (auto r = e(""); !r.ok()) return r.status();
  return std::unique_ptr<Control>(new Stub);
}
}  // namespace tutti
