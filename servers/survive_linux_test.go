// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is read here from /proc is described in proc(5).

// startPlain is start without the race detector.
func startPlain(t *testing.T, args ...string) *server {
	path, err := binaries.plain()
	require.NoError(t, err)
	return startCommand(t, exec.Command(path), args...)
}

// rss returns the server's resident memory in bytes.
func (s *server) rss() int {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	require.NoError(s.t, err)
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(s.t, err)
	return kib << 10
}

// cpu returns the time for which the server has run on a CPU.
func (s *server) cpu() time.Duration {
	s.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	require.NoError(s.t, err)
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may hold blanks
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	require.NoError(s.t, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(s.t, err)
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}

// rests expects the server to take less than a part of one CPU in a second. Of three the best counts: the kernel can charge
// a process with what the host took from the machine, and what keeps a server busy does so in every one of them.
func (s *server) rests(most float64) {
	s.t.Helper()
	least := most
	for try := 0; try < 3 && least >= most; try++ {
		before, began := s.cpu(), time.Now()
		time.Sleep(time.Second)
		least = float64(s.cpu()-before) / float64(time.Since(began))
	}
	require.Less(s.t, least, most, "of a core")
}

// delivered waits until the server has read all that c sent.
func (s *server) delivered(c net.Conn) {
	s.t.Helper()
	ours, theirs := procAddr(s.t, c.LocalAddr()), procAddr(s.t, c.RemoteAddr())
	empty := func(connection, queues string) func() bool { // of tx_queue:rx_queue
		line := regexp.MustCompile(connection + " 01 " + queues)
		return func() bool {
			table, err := os.ReadFile("/proc/net/tcp")
			require.NoError(s.t, err)
			return line.Match(table)
		}
	}
	// One after the other: a table is no picture of one moment.
	eventually(s.t, empty(ours+" "+theirs, "00000000:"), "everything has been sent")
	eventually(s.t, empty(theirs+" "+ours, "[0-9A-F]{8}:00000000"), "the server has read everything")
}

// sockets counts those that the server has.
func (s *server) sockets() (n int) {
	s.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.cmd.Process.Pid))
	require.NoError(s.t, err)
	for _, file := range files {
		if is, _ := os.Readlink(file); strings.HasPrefix(is, "socket:") {
			n++
		}
	}
	return n
}

// procAddr writes an address as /proc/net/tcp does on a little-endian machine.
func procAddr(t *testing.T, a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	require.NoError(t, err)
	ip := ap.Addr().As4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], ap.Port())
}

// flood sends until nothing more is taken and returns how many bytes were.
func flood(c conn, seed byte) (n int, err error) {
	source, piece := random(seed), make([]byte, 64<<10)
	for {
		if _, err := source.Read(piece); err != nil {
			return n, err
		}
		if err := c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return n, err
		}
		part, err := c.Write(piece)
		n += part
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// Clients that flood the server and never read cost it neither memory nor time, the others notice nothing, and once
// they read nothing is missing.
func TestFloodersThatNeverRead(t *testing.T) {
	t.Parallel()
	s := startPlain(t, "echo")
	require.Len(t, s.ask(make([]byte, 1<<20)), 1<<20) // warm up
	before := s.rss()

	var flooders [8]conn
	var sent [8]int
	for i := range flooders {
		flooders[i] = s.dial()
	}
	inParallel(t, len(flooders), func(i int) (err error) {
		sent[i], err = flood(flooders[i], byte(i))
		return err
	})
	require.Less(t, s.rss()-before, 48<<20, "bytes of memory for %d that were sent", sent)
	s.rests(0.05)
	require.Equal(t, "hello", string(s.ask([]byte("hello"))))

	inParallel(t, len(flooders), func(i int) error {
		c := flooders[i]
		if err := c.CloseWrite(); err != nil {
			return err
		}
		if err := expectRandom(c, byte(i), sent[i]); err != nil {
			return err
		}
		return expectEnd(c)
	})
	require.Less(t, s.rss()-before, 48<<20)
}

// More clients than descriptors: those that are in are served, the rest wait, and get in as soon as there is room.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	path, err := binaries.plain()
	require.NoError(t, err)
	s := startCommand(t, exec.Command("sh", "-c", `ulimit -n 64; exec "$0" "$@"`, path), "echo")

	const clients, old = 200, 20
	var served atomic.Int32
	var reading sync.WaitGroup
	conns := make([]conn, clients)
	for i := range conns {
		c := s.dial()
		conns[i] = c
		_, err := c.Write([]byte{'x'})
		require.NoError(t, err)
		if i < old {
			require.NoError(t, expect(c, fixed('x'), 1))
			continue
		}
		reading.Go(func() {
			if expect(c, fixed('x'), 1) == nil {
				served.Add(1)
			}
		})
	}
	s.logs("level=WARN", "not accepting", "too many open files")
	s.rests(0.1)
	full := int32(s.sockets() - 1 - old) // the listener's is one
	require.Less(t, int(full)+old, 64)
	eventually(t, func() bool { return served.Load() == full }, "all who are in are served")

	exchange := func(c conn) {
		_, err := c.Write([]byte{'y'})
		require.NoError(t, err)
		require.NoError(t, expect(c, fixed('y'), 1))
	}
	for _, c := range conns[:old] {
		exchange(c)
	}
	require.Equal(t, full, served.Load(), "nobody got in meanwhile")
	require.Equal(t, 1, strings.Count(s.stderr.String(), "not accepting"), "told once")

	for _, c := range conns[:old] {
		c.Close()
	}
	eventually(t, func() bool { return served.Load() >= full+old }, "the next are let in")

	for _, c := range conns[old:] {
		c.Close()
	}
	reading.Wait()
	require.Equal(t, "hello", string(s.ask([]byte("hello"))))
	s.stop()
}

// The drain waits for a slow reader, and every byte arrives.
func TestStopWithSlowReader(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	s := start(t, append(roomy, "-drain-timeout", "20s")...)
	c := s.stall(size)
	s.delivered(c)
	s.signal(syscall.SIGTERM)
	s.refuses()
	require.NoError(t, expectRandom(slowly{c}, 1, size))
	require.NoError(t, expectEnd(c))
	c.Close()
	require.Zero(t, s.exit())
}

// slowly reads at 64 MiB a second at most.
type slowly struct{ conn }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.conn.Read(p)
}
