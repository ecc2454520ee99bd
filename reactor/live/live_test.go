// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/live"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A site is a reactor that answers lines with themselves, and its page.
type site struct {
	*reactor.Reactor
	t       *testing.T
	address string // of the reactor's listener
	url     string
	handler http.Handler
}

func serve(t *testing.T) *site {
	t.Helper()
	r, err := reactor.New(reactor.Options{Loops: 2, Measure: true})
	require.NoError(t, err)
	lines := reactor.Frames(codec.Line(0), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
		return c.Send(codec.Line(0), line)
	}))
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return lines, nil }, nil)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx) }()
	s := &site{Reactor: r, t: t, address: lis.Addr().String(), handler: live.Handler(r)}
	page := httptest.NewServer(s.handler)
	s.url = page.URL
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		page.CloseClientConnections()
		page.Close()
		stop()
		require.NoError(t, <-ended)
	})
	return s
}

// dial connects to the reactor.
func (s *site) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	require.NoError(s.t, err)
	require.NoError(s.t, c.SetDeadline(time.Now().Add(patience)))
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *site) say(c net.Conn, text string) {
	s.t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(s.t, err)
}

func (s *site) ask(c net.Conn, line string) {
	s.t.Helper()
	s.say(c, line)
	_, err := io.ReadFull(c, make([]byte, len(line)))
	require.NoError(s.t, err)
}

type conn struct {
	ID            string
	Loop          int
	Local, Remote string
}

type event struct {
	Loop         int
	Kind, Text   string
	At, Duration int64
	Conn         string
	N, Of        int
}

// told is what both a hello and a message may hold.
type told struct {
	Now    int64
	Loops  int
	Conns  []conn
	Events []event
	Open   *struct{ IDs []string }
	Stats  *struct {
		Loops   []struct{ Conns int }
		Sockets []struct{ Network, Address string }
	}
}

// A viewer reads the events of the page.
type viewer struct {
	t      *testing.T
	answer *http.Response
	lines  *bufio.Scanner
	hello  told
}

// watch begins to watch, and has read the hello.
func (s *site) watch() *viewer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events", nil)
	require.NoError(s.t, err)
	answer, err := http.DefaultClient.Do(q)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { answer.Body.Close() })
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	require.Equal(s.t, "text/event-stream", answer.Header.Get("Content-Type"))
	v := &viewer{t: s.t, answer: answer, lines: bufio.NewScanner(answer.Body)}
	v.lines.Buffer(nil, 16<<20)
	name, data := v.next()
	require.Equal(s.t, "hello", name)
	require.NoError(s.t, json.Unmarshal(data, &v.hello))
	return v
}

// next returns the next event of the stream.
func (v *viewer) next() (name string, data []byte) {
	v.t.Helper()
	for v.lines.Scan() {
		switch line := v.lines.Text(); {
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = []byte(line[len("data: "):])
		case line == "":
			return name, data
		}
	}
	require.Fail(v.t, "the stream ended", "%v", v.lines.Err())
	return "", nil
}

// until reads messages until one satisfies found, and returns it.
func (v *viewer) until(found func(m told) bool) told {
	v.t.Helper()
	for {
		name, data := v.next()
		require.Equal(v.t, "message", name)
		var m told
		require.NoError(v.t, json.Unmarshal(data, &m))
		if found(m) {
			return m
		}
	}
}

// What connections do is told, of those that were there before and those that come; the messages say who they are.
func TestEvents(t *testing.T) {
	s := serve(t)
	before := s.dial()
	s.ask(before, "hello\n")
	v := s.watch()
	require.Equal(t, 2, v.hello.Loops)
	require.Len(t, v.hello.Conns, 1)
	require.Equal(t, before.LocalAddr().String(), v.hello.Conns[0].Remote)
	require.Equal(t, s.address, v.hello.Conns[0].Local)
	require.Equal(t, s.address, v.hello.Stats.Sockets[0].Address)

	after := s.dial()
	s.say(after, "two words\nand a ha")
	var got []event
	var who conn
	v.until(func(m told) bool {
		for _, c := range m.Conns {
			if c.Remote == after.LocalAddr().String() {
				who = c
			}
		}
		for _, e := range m.Events {
			require.LessOrEqual(t, e.At, m.Now)
			if e.Conn != "" && e.Conn == who.ID {
				got = append(got, e)
			}
		}
		return slices.ContainsFunc(got, func(e event) bool { return e.Kind == "write" })
	})
	kinds := map[string]event{}
	for _, e := range got {
		kinds[e.Kind] = e
		require.NotEmpty(t, e.Text)
	}
	require.Contains(t, kinds, "accept")
	require.Equal(t, 18, kinds["read"].N)
	require.Equal(t, []int{9, 10}, []int{kinds["frame"].N, kinds["frame"].Of})
	require.Equal(t, 8, kinds["partial frame"].N)
	require.Equal(t, 10, kinds["write"].N)
	require.Equal(t, who.Loop, kinds["read"].Loop)

	after.Close()
	v.until(func(m told) bool {
		return slices.ContainsFunc(m.Events, func(e event) bool { return e.Kind == "close" && e.Conn == who.ID })
	})
	m := v.until(func(m told) bool { return m.Stats != nil && m.Stats.Loops[0].Conns+m.Stats.Loops[1].Conns == 1 })
	require.Len(t, m.Stats.Loops, 2)
}

// What is open is told as it is, sessions included, of which nothing is recorded.
func TestOpen(t *testing.T) {
	s := serve(t)
	lis, err := s.ListenPacket("udp", "127.0.0.1:0", reactor.Sessions(func(*reactor.Session) (reactor.SessionHandler, error) { return sessions{}, nil }, nil), nil)
	require.NoError(t, err)
	v := s.watch()
	v.until(func(m told) bool { return m.Open != nil && len(m.Open.IDs) == 0 })
	c := s.dial()
	s.ask(c, "x\n")
	peer, err := net.Dial("udp", lis.Addr().String())
	require.NoError(t, err)
	defer peer.Close()
	s.say(peer, "hello")
	names := map[string]string{}
	m := v.until(func(m told) bool {
		for _, c := range m.Conns {
			names[c.ID] = c.Remote
		}
		return m.Open != nil && len(m.Open.IDs) == 2
	})
	require.ElementsMatch(t, []string{c.LocalAddr().String(), peer.LocalAddr().String()}, []string{names[m.Open.IDs[0]], names[m.Open.IDs[1]]})
	c.Close()
	m = v.until(func(m told) bool { return m.Open != nil && len(m.Open.IDs) == 1 })
	require.Equal(t, peer.LocalAddr().String(), names[m.Open.IDs[0]])
}

// sessions do nothing.
type sessions struct{}

func (sessions) Datagram(*reactor.Session, *reactor.Datagram) {}
func (sessions) Close(*reactor.Session, error)                {}

// A busy loop is not recorded beyond a bound, and what is left out is told.
func TestBusyLoop(t *testing.T) {
	s := serve(t)
	v := s.watch()
	for range 4 {
		c := s.dial()
		go func() { // many at once, lest a slow machine be no busy loop
			lines := strings.Repeat("x\n", live.Burst)
			for _, err := io.WriteString(c, lines); err == nil; _, err = io.WriteString(c, lines) {
				if _, err := io.ReadFull(c, make([]byte, len(lines))); err != nil {
					return
				}
			}
		}()
	}
	gaps := 0
	v.until(func(m told) bool {
		of := map[int]int{}
		for _, e := range m.Events {
			of[e.Loop]++
			if e.Kind == "gap" {
				gaps++
				require.NotZero(t, e.Duration)
			}
		}
		for loop, n := range of {
			require.LessOrEqual(t, n, 2*(live.Burst+1), "events of loop %d in a message", loop)
		}
		return gaps >= 10
	})
}

// Who watches too slowly misses messages and is told how many; others miss none, and what waits is bounded.
func TestSlowViewer(t *testing.T) {
	s := serve(t)
	slow := &slowWriter{header: http.Header{}, release: make(chan struct{}), taken: make(chan string, 1000)}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		s.handler.ServeHTTP(slow, httptest.NewRequest(http.MethodGet, "/events", nil).WithContext(ctx))
	}()
	v := s.watch()
	c := s.dial()
	for range live.Backlog + 10 {
		s.ask(c, "x\n")
		v.until(func(m told) bool { return len(m.Events) > 0 })
	}
	close(slow.release)
	var missed bool
	for !missed {
		select {
		case text := <-slow.taken:
			missed = regexp.MustCompile(`^event: missed\ndata: [1-9]`).MatchString(text)
		case <-time.After(patience):
			require.Fail(t, "nothing was told to be missed")
		}
	}
	leave()
	<-left
}

// A slowWriter is the answer to a viewer that takes nothing until it is released.
type slowWriter struct {
	header  http.Header
	release chan struct{}
	taken   chan string
}

func (w *slowWriter) Header() http.Header { return w.header }
func (w *slowWriter) WriteHeader(int)     {}
func (w *slowWriter) Flush()              {}
func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.release
	w.taken <- string(p)
	return len(p), nil
}

// So many may watch and no more, and when nobody does any more the reactor is not traced.
func TestViewers(t *testing.T) {
	s := serve(t)
	var all []*viewer
	for range live.MaxViewers {
		all = append(all, s.watch())
	}
	status, body := s.get("GET", "/events", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "8 watch already")
	for _, v := range all {
		v.answer.Body.Close()
	}
	const traces = 8 // that may record
	eventually(t, "nobody traces", func() bool {
		var held []*reactor.Trace
		defer func() {
			for _, trace := range held {
				trace.Stop()
			}
		}()
		for range traces {
			trace, err := s.Trace(reactor.TraceOptions{Events: 1})
			if err != nil {
				return false
			}
			held = append(held, trace)
		}
		return true
	})
	v := s.watch()
	v.answer.Body.Close()
	require.NoError(t, s.Close())
	eventually(t, "who comes when the reactor has ended is told", func() bool {
		status, body = s.get("HEAD", "/events", "")
		return status == http.StatusServiceUnavailable
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "waited in vain: %s", what)
	}
}

// get asks for a path of the page, as a host if that is not "", and reads at most a little of the answer.
func (s *site) get(method, path, host string) (status int, body string) {
	s.t.Helper()
	q, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	require.NoError(s.t, err)
	q.Host = host
	answer, err := http.DefaultClient.Do(q)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	require.NoError(s.t, err)
	return answer.StatusCode, string(text)
}

// The page only shows, to who asks for this machine by an address or as localhost.
func TestRefusals(t *testing.T) {
	s := serve(t)
	for _, test := range []struct {
		method, path, host string
		status             int
	}{
		{"GET", "/", "", http.StatusOK},
		{"HEAD", "/", "", http.StatusOK},
		{"HEAD", "/events", "", http.StatusOK},
		{"GET", "/", "localhost:8080", http.StatusOK},
		{"GET", "/", "LOCALHOST", http.StatusOK},
		{"GET", "/", "[::1]:80", http.StatusOK},
		{"GET", "/", "[::1]", http.StatusOK},
		{"GET", "/", "127.0.0.1", http.StatusOK},
		{"GET", "/", "example.com", http.StatusMisdirectedRequest},
		{"GET", "/events", "example.com:8080", http.StatusMisdirectedRequest},
		{"GET", "/", "localhost.example.com", http.StatusMisdirectedRequest},
		{"POST", "/", "", http.StatusMethodNotAllowed},
		{"PUT", "/events", "", http.StatusMethodNotAllowed},
		{"DELETE", "/app.js", "", http.StatusMethodNotAllowed},
		{"GET", "/nothing", "", http.StatusNotFound},
		{"GET", "/../live.go", "", http.StatusNotFound},
	} {
		t.Run(test.method+" "+test.path+" "+test.host, func(t *testing.T) {
			status, body := s.get(test.method, test.path, test.host)
			require.Equal(t, test.status, status, "%s", body)
		})
	}
}

// All that the page loads is served with it, and may be loaded; there is nothing from elsewhere.
func TestPageIsWhole(t *testing.T) {
	s := serve(t)
	names, elsewhere := regexp.MustCompile(`(?:href|src|from)(?:=| )"\.?/?([\w.]+)"`), regexp.MustCompile(`(?:https?:)?//[\w.]+\.\w+/`)
	seen := map[string]bool{}
	var load func(path string)
	load = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		answer, err := http.Get(s.url + "/" + path)
		require.NoError(t, err)
		defer answer.Body.Close()
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		require.Contains(t, answer.Header.Get("Content-Security-Policy"), "script-src 'self'")
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		for _, found := range elsewhere.FindAllString(string(text), -1) {
			require.Equal(t, "http://www.w3.org/", found, "%s loads from elsewhere", path) // the name of a format
		}
		for _, name := range names.FindAllStringSubmatch(string(text), -1) {
			load(name[1])
		}
	}
	load("")
	for _, path := range []string{"app.js", "feed.js", "model.js", "lanes.js", "detail.js", "style.css", "icon.svg"} {
		require.True(t, seen[path], "%s is not loaded", path)
	}
}
