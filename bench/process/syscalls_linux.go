// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enterEvent is the kernel's tracepoint at the entry of every system call.
const enterEvent = "/events/raw_syscalls/sys_enter/id"

// A SyscallCounter counts the system calls of a process, those of Go's runtime included: perf_event_open(2) on the
// tracepoint raw_syscalls:sys_enter, one counter for each thread, inherited by new ones. Counting costs the server a
// little, so it is not done while CPU time is measured.
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

// listings bounds how often CountSyscalls begins anew because a thread came or went meanwhile.
const listings = 100

// CountSyscalls starts to count. It returns nil where that cannot be done.
//
// A thread made by one that is counted is counted too; one made by a thread whose turn had not come yet is not. So the
// counters hold only if the threads are the same before and after.
func (p *Process) CountSyscalls() *SyscallCounter {
	id, err := tracepoint()
	if err != nil {
		return nil
	}
	for range listings {
		c := &SyscallCounter{}
		before := p.threads()
		err := c.open(id, before)
		if err == nil && len(before) > 0 && slices.Equal(before, p.threads()) {
			return c
		}
		c.Close()
		if err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: the thread has ended
			return nil
		}
	}
	return nil
}

func (c *SyscallCounter) open(id uint64, threads []int) error {
	for _, tid := range threads {
		fd, err := openCounter(id, tid)
		if err != nil {
			return err
		}
		c.fds = append(c.fds, fd)
	}
	return nil
}

// threads lists the threads of the process, in order.
func (p *Process) threads() (tids []int) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.PID))
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	slices.Sort(tids)
	return tids
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
