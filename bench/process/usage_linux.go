// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage reads the accounts of the process.
func (p *Process) Usage() (u Usage) {
	u.CPU = cpuClock(p.PID)
	u.User, u.System = ticks(p.PID)
	u.Switches = switches(p.PID)
	u.RSS = p.RSS()
	return u
}

// RSS returns the resident memory of the process in bytes.
func (p *Process) RSS() *int64 {
	return field(fmt.Sprintf("/proc/%d/status", p.PID), "VmRSS:", 1<<10)
}

// cpuClock reads the CPU-time clock of a process, which counts ns; its number is that of clock_getcpuclockid(3).
func cpuClock(pid int) *time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return nil
	}
	d := time.Duration(t.Nano())
	return &d
}

// userTicks is the unit of times in /proc/PID/stat, USER_HZ, which is 100 on every architecture that Go runs on.
const userTicks = time.Second / 100

// ticks reads utime and stime, the 14th and 15th field of /proc/PID/stat; the second, the name, may hold anything but
// ends at the last ")".
func ticks(pid int) (user, system *time.Duration) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, nil
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return nil, nil
	}
	u, err1 := strconv.ParseInt(fields[11], 10, 64)
	s, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return nil, nil
	}
	ud, sd := time.Duration(u)*userTicks, time.Duration(s)*userTicks
	return &ud, &sd
}

func switches(pid int) *int64 {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	total := int64(0)
	for _, f := range files {
		a, b := field(f, "voluntary_ctxt_switches:", 1), field(f, "nonvoluntary_ctxt_switches:", 1)
		if a == nil || b == nil {
			return nil
		}
		total += *a + *b
	}
	if len(files) == 0 {
		return nil
	}
	return &total
}

// field returns a number of a file that has lines of a name and a number.
func field(file, name string, unit int64) *int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return nil
			}
			n *= unit
			return &n
		}
	}
	return nil
}

// LimitFiles sets how many descriptors the process may have, as if it had been started under that limit.
func (p *Process) LimitFiles(n int) error {
	return unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: uint64(n)}, nil)
}

// Files returns how many descriptors the process has.
func (p *Process) Files() (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID))
	return len(list), err
}
