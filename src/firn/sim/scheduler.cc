#include "firn/sim/scheduler.h"

#include <sys/mman.h>

#include <algorithm>
#include <limits>

#include "firn/base/check.h"
#include "firn/sim/fiber_context.h"
#include "firn/sim/process.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace firn::sim {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// Stacks are kept for later runs of this program: a run takes a few dozen.
class StackPool {
 public:
  void* Take() {
    if (!free_.empty()) {
      void* stack = free_.back();
      free_.pop_back();
      return stack;
    }
    void* stack = mmap(nullptr, kFiberStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FIRN_CHECK(stack != MAP_FAILED, "no memory for a fiber's stack");
    // An overflow hits a page that cannot be written.
    FIRN_CHECK(mprotect(stack, 4096, PROT_NONE) == 0, "a fiber's stack has no guard");
    return stack;
  }
  void Give(void* stack) { free_.push_back(stack); }

 private:
  std::vector<void*> free_;
};

StackPool& Stacks() {
  static StackPool pool;
  return pool;
}

#if defined(__SANITIZE_ADDRESS__)
void StartSwitch(void** saved, const void* bottom, size_t size) { __sanitizer_start_switch_fiber(saved, bottom, size); }
void FinishSwitch(void* saved, const void** bottom, size_t* size) {
  __sanitizer_finish_switch_fiber(saved, bottom, size);
}
#else
void StartSwitch(void**, const void*, size_t) {}
void FinishSwitch(void*, const void**, size_t*) {}
#endif

}  // namespace

class Fiber {
 public:
  Scheduler* scheduler = nullptr;
  Process* process = nullptr;
  std::string name;
  std::function<void()> body;
  FiberContext context;
  void* stack = nullptr;
  void* saved_fake_stack = nullptr;  // AddressSanitizer's
  uint64_t generation = 0;           // of its newest wake-up
  bool ended = false;
  std::vector<Fiber*> joining;
};

namespace {

constexpr uint64_t kYielded = 1ULL << 63;

Fiber* entered = nullptr;  // who was switched to last: how a new fiber knows itself

}  // namespace

struct Scheduler::MainContext {
  FiberContext context;
  void* saved_fake_stack = nullptr;
  const void* bottom = nullptr;
  size_t size = 0;
};

Scheduler::Scheduler(env::Random& random) : random_(random), main_(std::make_unique<MainContext>()) {}

Scheduler::~Scheduler() {
  // A run that was given up leaves fibers behind; what hangs on their stacks is lost.
  for (auto& fiber : fibers_) {
    if (fiber->stack != nullptr && fiber->ended) Stacks().Give(fiber->stack);
  }
}

Fiber* Scheduler::Start(Process* process, std::string name, std::function<void()> body) {
  auto made = std::make_unique<Fiber>();
  Fiber* fiber = made.get();
  fiber->scheduler = this;
  fiber->process = process;
  fiber->name = std::move(name);
  fiber->body = std::move(body);
  fiber->stack = Stacks().Take();
  PrepareFiber(fiber->context, fiber->stack, kFiberStackBytes, &Scheduler::Trampoline);
  fibers_.push_back(std::move(made));
  Schedule(fiber, now_ms_);
  return fiber;
}

void Scheduler::Trampoline() {
  Fiber* fiber = entered;
  Scheduler* self = fiber->scheduler;
  FinishSwitch(nullptr, &self->main_->bottom, &self->main_->size);
  fiber->body();
  fiber->body = nullptr;
  fiber->ended = true;
  for (Fiber* waiting : fiber->joining) self->Wake(waiting);
  StartSwitch(nullptr, self->main_->bottom, self->main_->size);
  SwitchFiber(fiber->context, self->main_->context);
  FIRN_CHECK(false, "a fiber that has ended runs again");
}

const std::string& Scheduler::NameOf(const Fiber* fiber) {
  return fiber->name;
}

void Scheduler::Schedule(Fiber* fiber, int64_t at_ms) {
  ++fiber->generation;
  if (at_ms == kNever) return;
  due_.push({at_ms, random_.Next64() % kYielded, fiber->generation, fiber});
}

void Scheduler::SwitchTo(Fiber* fiber) {
  current_ = fiber;
  ++switches_;
  StartSwitch(&main_->saved_fake_stack, fiber->stack, kFiberStackBytes);
  entered = fiber;
  SwitchFiber(main_->context, fiber->context);
  FinishSwitch(main_->saved_fake_stack, nullptr, nullptr);
  current_ = nullptr;
  if (!fiber->ended) return;
  Stacks().Give(fiber->stack);
  fiber->stack = nullptr;
}

void Scheduler::SwitchBack() {
  Fiber* fiber = current_;
  StartSwitch(&fiber->saved_fake_stack, main_->bottom, main_->size);
  SwitchFiber(fiber->context, main_->context);
  FinishSwitch(fiber->saved_fake_stack, &main_->bottom, &main_->size);
}

void Scheduler::SleepMs(int64_t duration_ms) {
  FIRN_CHECK(current_ != nullptr, "only a fiber can sleep");
  BlockUntil(duration_ms > kNever - now_ms_ ? kNever : now_ms_ + std::max<int64_t>(0, duration_ms));
}

void Scheduler::Yield() {
  due_.push({now_ms_, kYielded + yields_++, ++current_->generation, current_});
  SwitchBack();
}

void Scheduler::BlockUntil(int64_t at_ms) {
  Schedule(current_, at_ms);
  SwitchBack();
}

void Scheduler::Wake(Fiber* fiber) {
  if (!fiber->ended) Schedule(fiber, now_ms_);
}

void Scheduler::WakeAllOf(const Process* process) {
  for (const auto& fiber : fibers_) {
    if (fiber->process == process && fiber.get() != current_) Wake(fiber.get());
  }
}

void Scheduler::Join(Fiber* fiber) {
  while (!fiber->ended) {
    fiber->joining.push_back(current_);
    BlockUntil(kNever);
  }
}

bool Scheduler::Run(uint64_t switches_max, std::string& stuck) {
  while (!due_.empty()) {
    Due next = due_.top();
    due_.pop();
    if (next.generation != next.fiber->generation || next.fiber->ended) continue;
    if (next.fiber->process != nullptr && next.fiber->process->suspended_until_ms() > next.at_ms) {
      next.at_ms = next.fiber->process->suspended_until_ms();
      due_.push(next);
      continue;
    }
    now_ms_ = std::max(now_ms_, next.at_ms);
    if (switches_ >= switches_max) break;
    SwitchTo(next.fiber);
  }
  for (const auto& fiber : fibers_) {
    if (fiber->ended) continue;
    if (!stuck.empty()) stuck += ", ";
    stuck += fiber->name;
  }
  return stuck.empty();
}

}  // namespace firn::sim
