// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/internal/unused"
)

var metricsURL = regexp.MustCompile(`url=(http://\S+)/metrics`)

// observed starts a server with -metrics and returns where.
func observed(t *testing.T, args ...string) (s *server, url string) {
	t.Helper()
	s = start(t, append(args, "-metrics", ":0")...)
	s.logs("msg=metrics", "url=")
	return s, metricsURL.FindStringSubmatch(s.stderr.String())[1]
}

// get returns what an URL has.
func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	r, err := client.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.StatusCode, "%s", body)
	return string(body)
}

// The metrics are served on loopback, beside profiles, and know of the traffic.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s, url := observed(t, "echo")
	require.Regexp(t, `^http://127\.0\.0\.1:`, url)
	require.Equal(t, "hello", string(s.ask([]byte("hello"))))
	eventually(t, func() bool {
		return regexp.MustCompile(`(?m)^quartet_connections_closed_total\{reason="peer"\} 1$`).MatchString(get(t, url+"/metrics"))
	}, "the connection is counted")
	text := get(t, url+"/metrics")
	require.Contains(t, text, "\nquartet_receive_bytes_total 5\n")
	require.Contains(t, text, "\nquartet_loop_busy_seconds_total{")
	require.Contains(t, text, "\ngo_goroutines ")
	require.Contains(t, get(t, url+"/debug/pprof/goroutine?debug=1"), "goroutine profile")
	s.stop()
}

// A successor serves the metrics when its predecessor has let go of their address.
func TestMetricsOfASuccessor(t *testing.T) {
	t.Parallel()
	address := unused.Address("tcp")
	s := start(t, "echo", "-metrics", address)
	s.logs("msg=metrics")
	s.signal(syscall.SIGHUP)
	s.logs("handed over", "successor=")
	pid, err := strconv.Atoi(regexp.MustCompile(`successor=(\d+)`).FindStringSubmatch(s.stderr.String())[1])
	require.NoError(t, err)
	stopped := false
	defer func() {
		if !stopped {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	eventually(t, func() bool { return strings.Count(s.stderr.String(), "msg=metrics") == 2 }, "the successor serves metrics")
	require.Contains(t, get(t, "http://"+address+"/metrics"), "process_start_time_seconds")
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	stopped = true
	require.Zero(t, s.exit())
	eventually(t, func() bool { return strings.Count(s.stderr.String(), "msg=stopped") == 2 }, "both have ended")
}

var inspectURL = regexp.MustCompile(`msg=inspect .*url=(http://\S+)`)

// watched returns the answer that tells the events of a server started with -inspect.
func watched(t *testing.T, s *server) *http.Response {
	t.Helper()
	s.logs("msg=inspect", "url=")
	url := inspectURL.FindStringSubmatch(s.stderr.String())[1]
	require.Regexp(t, `^http://127\.0\.0\.1:\d+/$`, url)
	require.Contains(t, get(t, url), "<title>Quartet, live</title>")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"events", nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(q)
	require.NoError(t, err)
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// The clients of -demo have done to them what the live page has marks for, again and again, and end with the server.
func TestDemo(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"tcp://127.0.0.1:0", "unix://" + socketPath(t)} {
		s := start(t, "frames", "-codec", "len:2", "-loops", "1", "-listen", listen, "-inspect", ":0", "-demo", "2ms")
		events := watched(t, s)
		missing := []string{`"kind":"partial frame"`, `"kind":"stopped"`, `"kind":"resumed"`, `"kind":"eof"`, "closed: peer", "closed: truncated"}
		if strings.HasPrefix(listen, "tcp") {
			missing[5] = "closed: reset" // which unix sockets do not have
		}
		lines := bufio.NewScanner(events.Body)
		lines.Buffer(nil, 16<<20)
		for len(missing) > 0 {
			require.True(t, lines.Scan(), "the events end without %q: %v", missing, lines.Err())
			missing = slices.DeleteFunc(missing, func(what string) bool { return strings.Contains(lines.Text(), what) })
		}
		s.stop()
	}
}

// Who watches is sent away when a successor takes over, and finds it at the same address.
func TestInspectOfASuccessor(t *testing.T) {
	t.Parallel()
	address := unused.Address("tcp")
	s := start(t, "echo", "-inspect", address, "-drain-timeout", "100ms")
	events := watched(t, s)
	held := s.dial() // so that the old one does not end before
	s.signal(syscall.SIGHUP)
	_, err := io.Copy(io.Discard, events.Body)
	require.NoError(t, err, "the events end")
	eventually(t, func() bool { return strings.Count(s.stderr.String(), "msg=inspect") == 2 }, "the successor has the page")
	pid, err := strconv.Atoi(handedOver.FindStringSubmatch(s.stderr.String())[1])
	require.NoError(t, err)
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	require.Contains(t, get(t, "http://"+address+"/"), "<title>Quartet, live</title>")
	held.Close()
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	require.Zero(t, s.exit())
}

// A trace is written at the end, as JSON or as a story.
func TestTrace(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"trace.json", "trace.txt"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			s := start(t, "echo", "-loops", "2", "-trace", path)
			require.Equal(t, "hello", string(s.ask([]byte("hello"))))
			s.stop()
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			if name == "trace.txt" {
				require.Regexp(t, `(?s)opened.*read 5 bytes.*wrote 5 of 5 bytes.*closed: peer`, string(text))
				return
			}
			var file struct {
				TraceEvents []struct {
					Name string
					Ph   string
				}
			}
			require.NoError(t, json.Unmarshal(text, &file))
			phases := map[string]int{}
			for _, e := range file.TraceEvents {
				phases[e.Ph]++
			}
			require.Equal(t, []int{1, 1}, []int{phases["s"], phases["f"]}, "one connection")
			require.NotZero(t, phases["X"])
		})
	}
}

// An address that cannot be had for the metrics is told as that of a listener is.
func TestMetricsInUse(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer lis.Close()
	r := runToEnd(t, "echo", "-listen", "tcp://127.0.0.1:0", "-metrics", lis.Addr().String())
	require.Equal(t, 1, r.code)
	require.Empty(t, r.stdout)
	requireOneLine(t, r.stderr, lis.Addr().String(), "address already in use")
	r = runToEnd(t, "echo", "-listen", "tcp://127.0.0.1:0", "-metrics", ":0", "-inspect", lis.Addr().String())
	require.Equal(t, 1, r.code)
	requireOneLine(t, r.stderr, lis.Addr().String(), "address already in use")
}

// top shows once, on something that is no terminal: the loops, and who is busy.
func TestTop(t *testing.T) {
	t.Parallel()
	s, url := observed(t, "echo", "-loops", "2")
	c := s.dial()
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for buf := make([]byte, 1000); ; {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if _, err := c.Write(buf); err != nil {
				stopped <- err
				return
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for _, args := range [][]string{{url, "-interval", "200ms"}, {"-interval", "200ms", "-n", "2", strings.TrimPrefix(url, "http://")}} {
		eventually(t, func() bool { // nobody is busy while the machine stands still
			r := runToEnd(t, append([]string{"top"}, args...)...)
			require.Zero(t, r.code, r.stderr)
			require.Empty(t, r.stderr)
			require.NotContains(t, r.stdout, "\x1b")
			require.Regexp(t, `(?m)^   0 +\d+\.\d% +\d+ .*\n   1 +\d+\.\d% +\d+ `, r.stdout)
			for line := range strings.Lines(r.stdout) {
				require.LessOrEqual(t, len(line), 80+1)
			}
			return strings.Contains(r.stdout, "  "+s.addrs[0]+"<-"+c.LocalAddr().String()+"\n")
		}, "the client is busy")
	}
	close(stop)
	require.NoError(t, <-stopped)
	c.Close()
	s.stop()

	r := runToEnd(t, "top", url)
	require.Equal(t, 1, r.code)
	requireOneLine(t, r.stderr, "connection refused")
}
