// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var program string // the program, built

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ping")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for users without rights too
		panic(err)
	}
	program = filepath.Join(dir, "ping")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// result is what came of a run.
type result struct {
	code           int
	stdout, stderr string
}

// ping runs the program, prepared by some.
func ping(t *testing.T, prepare func(*exec.Cmd), args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if prepare != nil {
		prepare(cmd)
	}
	_ = cmd.Run()
	require.NoError(t, ctx.Err(), "the program did not end")
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// requireRight ends the test where neither kind of socket is allowed, which has to be told.
func (r result) requireRight(t *testing.T) {
	t.Helper()
	if r.code == 2 && strings.Contains(r.stderr, "no right") {
		require.Contains(t, r.stderr, "CAP_NET_RAW")
		require.Contains(t, r.stderr, "net.ipv4.ping_group_range")
		t.Skip(r.stderr)
	}
}

const times = `\d+\.\d{3}`

// Each answer is a line, the sums follow.
func TestPing(t *testing.T) {
	for _, size := range []string{"0", "56", "65507"} {
		r := ping(t, nil, "-c", "3", "-i", "10ms", "-s", size, "127.0.0.1")
		r.requireRight(t)
		require.Zero(t, r.code, r)
		require.Regexp(t, `^PING 127\.0\.0\.1: `+size+` data bytes
(\d+ bytes from 127\.0\.0\.1: icmp_seq=[123] time=`+times+` ms
){3}
--- 127\.0\.0\.1 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss
rtt min/avg/max = `+times+`/`+times+`/`+times+` ms
$`, r.stdout)
	}
}

// Without -c it goes on until it is interrupted, which it survives.
func TestInterrupt(t *testing.T) {
	var out watched
	cmd := exec.Command(program, "-i", "10ms", "localhost")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	out.until, out.seen = "icmp_seq=5", func() { _ = cmd.Process.Signal(os.Interrupt) }
	err := cmd.Run()
	result{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}.requireRight(t)
	require.NoError(t, err, stderr.String())
	require.Contains(t, out.String(), "--- localhost ping statistics ---")
}

// watched is output that calls seen when until is in it.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until string
	seen  func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.seen != nil && strings.Contains(w.text.String(), w.until) {
		w.seen()
		w.seen = nil
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// What is wrong with the command line is told in one line.
func TestMistakes(t *testing.T) {
	for want, args := range map[string][]string{
		"one host is needed, there are 0":                               nil,
		"one host is needed, there are 2":                               {"a", "b"},
		"-c is -1, -i 1s and -W 2s, must be at least 0, 1ms and 0":      {"-c", "-1", "localhost"},
		"-c is 0, -i 1\u00b5s and -W 2s, must be at least 0, 1ms and 0": {"-i", "1us", "localhost"},
		"-s is 65508, must be 0 to 65507":                               {"-s", "65508", "localhost"},
	} {
		require.Equal(t, result{2, "", "ping: " + want + "\n"}, ping(t, nil, args...))
	}
	r := ping(t, nil, "::1")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "::1")
}

// Messages as they are on the wire, and what is none.
func TestMessages(t *testing.T) {
	request := appendEcho(nil, 0x1234, 7, []byte("abc"))
	require.Equal(t, []byte{8, 0, 0x21, 0x62, 0x12, 0x34, 0, 7, 'a', 'b', 'c'}, request)
	require.Zero(t, checksum(request))
	require.Equal(t, ^uint16(0xddf2), checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7})) // RFC 1071, 3

	reply := bytes.Clone(request)
	reply[0], reply[2] = echoReply, request[2]+8
	id, sequence, data, ok := parseReply(reply)
	require.True(t, ok)
	require.Equal(t, []any{uint16(0x1234), uint16(7), "abc"}, []any{id, sequence, string(data)})
	for i := range reply {
		wrong := bytes.Clone(reply)
		wrong[i] ^= 0x40
		_, _, _, ok := parseReply(wrong)
		require.False(t, ok, "byte %d changed", i)
	}
	_, _, _, ok = parseReply(request)
	require.False(t, ok, "a request")
	_, _, _, ok = parseReply(reply[:7])
	require.False(t, ok, "less than a header")

	packet := append([]byte{0x46, 23: 0}, "rest"...)
	require.Equal(t, "rest", string(withoutIPHeader(packet)))
	for _, none := range [][]byte{nil, {0x45}, {0x41, 19: 0}, {0x65, 39: 0}} {
		require.Empty(t, withoutIPHeader(none))
	}
}
