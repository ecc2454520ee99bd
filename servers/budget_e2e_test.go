// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e && linux

package main_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The system calls of one echo are budgeted: one to receive and one to send, and the waiting shared by all that
// became ready. Go's runtime has some of its own (futex, nanosleep, its preemption by signals), which are as many in
// any program that runs as long.
func TestSystemCallBudget(t *testing.T) {
	const conns, each, budget = 64, 300, 2.1
	if _, err := exec.LookPath("strace"); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
		t.Skip(err)
	}
	program, err := binaries.plain()
	require.NoError(t, err)
	counts := filepath.Join(t.TempDir(), "counts")
	s := startCommand(t, exec.Command("strace", "-f", "-c", "-o", counts, program), "echo", "-loops", "1", "-log-level", "error")

	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			c, err := net.Dial("tcp", s.addrs[0])
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			message := make([]byte, 64)
			for range each {
				if _, err := c.Write(message); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(c, message); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, signalChild(s.cmd.Process.Pid, syscall.SIGINT))
	<-s.exited

	calls := countCalls(t, counts)
	require.GreaterOrEqual(t, calls["recvfrom"], conns*each)
	total := 0
	for name, n := range calls {
		if !slices.Contains([]string{"futex", "nanosleep", "tgkill", "getpid", "rt_sigreturn", "rt_sigaction", "rt_sigprocmask", "mmap", "sched_yield", "madvise"}, name) {
			total += n
		}
	}
	t.Logf("%.3f calls an echo", float64(total)/(conns*each))
	require.LessOrEqual(t, float64(total)/(conns*each), budget, "%v", calls)
}

// signalChild signals the only child of a process: strace ends with the program that it started.
func signalChild(pid int, sig syscall.Signal) error {
	id := strconv.Itoa(pid)
	children, err := os.ReadFile("/proc/" + id + "/task/" + id + "/children")
	if err != nil {
		return err
	}
	child, err := strconv.Atoi(strings.Fields(string(children))[0])
	if err != nil {
		return err
	}
	return syscall.Kill(child, sig)
}

// countCalls reads strace's summary.
func countCalls(t *testing.T, file string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	calls := map[string]int{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] == "total" {
			continue
		}
		if n, err := strconv.Atoi(fields[3]); err == nil {
			calls[fields[len(fields)-1]] = n
		}
	}
	return calls
}
