// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package rig

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/bench/record"
)

func describe(r *record.Rig) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		r.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			r.CPU = strings.TrimSpace(value)
			break
		}
	}
}

// ticksPerSecond is USER_HZ, which is 100 on every architecture that Go runs on.
const ticksPerSecond = 100

// Now reads the accounts.
func Now() (t Ticks) {
	first, _, _ := strings.Cut(read("/proc/stat"), "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return t
	}
	t.known = true
	for i, f := range fields[1:9] { // user nice system idle iowait irq softirq steal; guest time is in user
		n, _ := strconv.ParseFloat(f, 64)
		t.Total += n
		switch i {
		case 0, 1, 2:
			t.Busy += n
		case 3, 4:
			t.Idle += n
		case 7:
			t.Steal = n
		}
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			t.Own += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9 * ticksPerSecond
		}
	}
	for _, file := range []string{"/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat"} {
		for line := range strings.Lines(read(file)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "nr_throttled" {
				n, _ := strconv.ParseFloat(f[1], 64)
				t.Throttled += n
			}
		}
	}
	counts, _ := filepath.Glob("/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
	for _, file := range counts {
		n, _ := strconv.ParseFloat(strings.TrimSpace(read(file)), 64)
		t.Throttled += n
	}
	return t
}

func clockSource() string {
	return strings.TrimSpace(read("/sys/devices/system/clocksource/clocksource0/current_clocksource"))
}

// read returns a file's text, nothing if there is none.
func read(file string) string {
	text, _ := os.ReadFile(file)
	return string(text)
}
