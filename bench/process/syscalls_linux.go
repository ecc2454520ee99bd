// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enterEvent is the kernel's tracepoint at the entry of every system call.
const enterEvent = "/events/raw_syscalls/sys_enter/id"

// A SyscallCounter counts the system calls of a process, those of Go's runtime included: perf_event_open(2) on the tracepoint
// raw_syscalls:sys_enter, one counter for each thread, inherited by new ones. Counting costs the server a little, so it is not done while CPU time is measured.
type SyscallCounter struct {
	fds []int
}

// SyscallsHow says how system calls are counted here, or why they cannot be.
func SyscallsHow() (how string, ok bool) {
	id, err := tracepoint()
	if err == nil {
		var fd int
		if fd, err = openCounter(id, 0); err == nil {
			unix.Close(fd)
			return "perf_event_open(2) on raw_syscalls:sys_enter, in a stretch of its own after the timed one", true
		}
	}
	return fmt.Sprintf("not counted: %v (it needs tracefs and the right to trace)", err), false
}

func tracepoint() (uint64, error) {
	var errs []error
	for _, root := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		text, err := os.ReadFile(root + enterEvent)
		if err == nil {
			return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs[0])
}

func openCounter(id uint64, tid int) (int, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Bits: unix.PerfBitInherit}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	return fd, os.NewSyscallError("perf_event_open", err)
}

// CountSyscalls starts to count. It returns nil where that cannot be done.
func (p *Process) CountSyscalls() *SyscallCounter {
	id, err := tracepoint()
	if err != nil {
		return nil
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID))
	if err != nil {
		return nil
	}
	c := &SyscallCounter{}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		fd, err := openCounter(id, tid)
		if errors.Is(err, unix.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			c.Close()
			return nil
		}
		c.fds = append(c.fds, fd)
	}
	return c
}

// Count returns how many calls there were since the start.
func (c *SyscallCounter) Count() *int64 {
	total := int64(0)
	var b [8]byte
	for _, fd := range c.fds {
		if n, err := unix.Read(fd, b[:]); err != nil || n != len(b) {
			return nil
		}
		total += int64(binary.NativeEndian.Uint64(b[:]))
	}
	return &total
}

// Close ends the counting.
func (c *SyscallCounter) Close() {
	for _, fd := range c.fds {
		unix.Close(fd)
	}
}
