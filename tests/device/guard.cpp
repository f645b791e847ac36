// Lets a process without CUDA "switch" to a CUDA device: for the pretend device of the tests.
#include <c10/core/impl/DeviceGuardImplInterface.h>

static const c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> guard;

extern "C" void set_guard() {
    c10::impl::device_guard_impl_registry[static_cast<size_t>(c10::DeviceType::CUDA)].store(&guard);
}
