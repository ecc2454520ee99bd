// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package program builds and runs programs of this repository, for the tests of the examples.
package program

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a program may take to start or to end.
const patience = 30 * time.Second

var built struct {
	dir  string // made by Main
	mu   sync.Mutex
	path map[string]string // of the programs, by folder
}

// Main is for TestMain: it runs the tests and removes what was built for them.
func Main(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil { // each program would end a second later
		panic(err)
	}
	built.dir, built.path = dir, make(map[string]string)
	return m.Run()
}

// Build builds the package in a folder, with the flags that the test itself was built with, and returns the program.
// It does so once.
func Build(t testing.TB, folder string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if path, ok := built.path[folder]; ok {
		return path
	}
	path := filepath.Join(built.dir, strconv.Itoa(len(built.path)))
	args := []string{"build", "-o", path}
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" || s.Key == "-tags" || s.Key == "-gcflags" {
			args = append(args, s.Key+"="+s.Value)
		}
	}
	out, err := exec.Command("go", append(args, folder)...).CombinedOutput()
	require.NoError(t, err, "%v: %s", args, out)
	built.path[folder] = path
	return path
}

// A Server is a running program that said where it listens.
type Server struct {
	Addrs []string // in the order of its lines "listening NETWORK ADDRESS"

	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr buffer
	exited         chan struct{}
}

// Start runs a program and waits until it has named so many addresses. The test's end kills what was not stopped.
func Start(t testing.TB, listeners int, path string, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, cmd: exec.Command(path, args...), exited: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	require.NoError(t, s.cmd.Start())
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.exited
		require.NotContains(t, s.stderr.String(), "DATA RACE")
		require.NotContains(t, s.stderr.String(), "panic")
	})
	for end := time.Now().Add(patience); strings.Count(s.stdout.String(), "\n") < listeners; time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.exited:
			require.FailNow(t, "the program has ended", "%s", s.stderr.String())
		default:
			require.True(t, time.Now().Before(end), "the program does not listen: %s", s.stderr.String())
		}
	}
	for line := range strings.Lines(s.stdout.String()) {
		fields := strings.Fields(line)
		require.Len(t, fields, 3, line)
		require.Equal(t, "listening", fields[0])
		s.Addrs = append(s.Addrs, fields[2])
	}
	return s
}

// Stop interrupts the program and expects that it ends in order.
func (s *Server) Stop() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(os.Interrupt))
	select {
	case <-s.exited:
	case <-time.After(patience):
		require.Fail(s.t, "the program does not end", "%s", s.stderr.String())
	}
	require.Zero(s.t, s.cmd.ProcessState.ExitCode(), "%s", s.stderr.String())
}

// A buffer is a bytes.Buffer for a process to write to and a test to read from.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
