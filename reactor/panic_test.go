// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

var errThrown = errors.New("thrown")

// crashes are the ways to leave a method for good, with what Close gets in PanicError.Value.
var crashes = []struct {
	name  string
	crash func()
	value error
}{
	{"panic", func() { panic(errThrown) }, errThrown},
	{"Goexit", runtime.Goexit, reactor.ErrGoexit},
}

// crashMethods are where user code runs. Each has a word that the client sends to get there.
var crashMethods = []string{"accept", "Data", "Frame", "EOF", "Writable", "Close", "Do", "Do on a closed connection"}

// A panic anywhere in user code closes its connection and no other: everyone else is served on, Close is called
// exactly once with the *PanicError where there is a handler, and the stack is logged. The same goes for
// runtime.Goexit, as in a failing test.
func TestCrashIsContained(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, how := range crashes {
			for _, method := range crashMethods {
				t.Run(how.name+" in "+method, func(t *testing.T) { testCrash(t, tr, method, how.crash, how.value) })
			}
		}
	})
}

func testCrash(t *testing.T, tr transport, method string, crash func(), value error) {
	ends := make(chan error, 10)
	// Every connection but the first few is the victim, whose handler crashes in the method.
	victim := &hooks{
		data: func(c *reactor.Conn, in []byte) (int, error) {
			switch method {
			case "Data":
				_, _ = c.Write([]byte("never sent"))
				crash()
			case "Writable":
				for !c.Blocked() { // the kernel may take megabytes while the client reads
					if _, err := c.Write(morePattern()); err != nil {
						return 0, err
					}
				}
				return len(in), nil
			case "Close", "Do on a closed connection":
				return len(in), c.Close()
			case "Do":
				return len(in), c.Ref().Do(func(*reactor.Conn, error) { crash() })
			}
			return len(in), nil
		},
		eof: func(c *reactor.Conn, _ []byte) error {
			if method == "EOF" {
				crash()
			}
			return io.EOF
		},
		writable: func(c *reactor.Conn) {
			if method == "Writable" {
				crash()
			}
		},
		close: func(c *reactor.Conn, err error) {
			ends <- err
			if method == "Close" {
				crash()
			}
			if method == "Do on a closed connection" {
				if err := c.Ref().Do(func(_ *reactor.Conn, err error) {
					ends <- err
					crash()
				}); err != nil {
					ends <- err
				}
			}
		},
	}
	var handler reactor.Handler = victim
	if method == "Frame" {
		handler = reactor.Frames(codec.Fixed(1), &frameHooks{hooks: *victim, frame: func(*reactor.Conn, []byte) error {
			crash()
			return nil
		}})
	}
	witness, refs := accepted(reactor.DataFunc(echo))
	var victims bool
	s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
		if !victims {
			return witness(c)
		}
		if method == "accept" {
			_, _ = c.Write([]byte("never sent"))
			crash()
		}
		return handler, nil
	}, nil)

	// Witnesses: on every loop one that talks and one that is paused, and one with output waiting.
	var talks, paused []client
	var pausedRefs, all []reactor.Ref
	for range tr.loops {
		talks = append(talks, s.dial())
		all = append(all, receive(t, refs))
	}
	for range tr.loops {
		paused = append(paused, s.dial())
		ref := receive(t, refs)
		do(t, ref, (*reactor.Conn).Pause)
		pausedRefs = append(pausedRefs, ref)
		all = append(all, ref)
	}
	waiting := morePattern()
	slow := s.dial()
	slowRef := receive(t, refs)
	_, err := slowRef.Write(waiting)
	require.NoError(t, err)
	all = append(all, slowRef)
	for _, ref := range all { // the loops' own memory of the switch
		do(t, ref, func(*reactor.Conn) {})
	}
	setOnLoops(t, all, func() { victims = true })

	for range 2 {
		cl := s.dial()
		if method != "accept" {
			cl.send("x")
		}
		if method == "EOF" {
			require.NoError(t, cl.CloseWrite())
		}
		n, err := io.Copy(io.Discard, cl)
		require.Falsef(t, isTimeout(err), "the victim is still there")
		if method != "Writable" {
			require.Zero(t, n, "bytes written by the call that crashed")
		}
		switch method {
		case "accept":
		case "Close":
			require.NoError(t, receive(t, ends))
		case "Do on a closed connection":
			require.NoError(t, receive(t, ends))
			require.Error(t, receive(t, ends))
		default:
			end := receive(t, ends)
			var p *reactor.PanicError
			require.ErrorAs(t, end, &p)
			require.Equal(t, value, p.Value)
			require.ErrorIs(t, end, value)
			require.Contains(t, string(p.Stack), "goroutine ")
			require.Contains(t, end.Error(), "reactor: handler panicked: "+value.Error())
		}
		for i := range tr.loops {
			talks[i].send("still here")
			talks[i].expect("still here")
		}
	}
	for i := range tr.loops {
		paused[i].send("after the pause")
		do(t, pausedRefs[i], (*reactor.Conn).Resume)
		paused[i].expect("after the pause")
	}
	slow.expectBytes(waiting)
	require.NoError(t, s.Close())
	for _, err := range drained(ends) {
		require.ErrorIs(t, err, reactor.ErrShutdown, "a victim that was closed again") // none of them
	}
	require.True(t, s.Log.has("handler panicked"))
	require.True(t, s.Log.has("panic_test.go"), "the stack")
	require.Zero(t, s.Buffered())
}

// setOnLoops has change made while all loops stand still, so that each sees it.
func setOnLoops(t *testing.T, refs []reactor.Ref, change func()) {
	loops := map[int]reactor.Ref{}
	for _, ref := range refs {
		do(t, ref, func(c *reactor.Conn) { loops[c.LoopIndex()] = ref })
	}
	var releases []func()
	for _, ref := range loops {
		releases = append(releases, block(t, ref))
	}
	change()
	for _, release := range releases {
		release()
	}
}

// drained takes what waits in ch.
func drained[T any](ch <-chan T) (all []T) {
	for {
		select {
		case v := <-ch:
			all = append(all, v)
		default:
			return all
		}
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// What is panicked with need not be an error.
func TestPanicValues(t *testing.T) {
	for _, value := range []any{"text", 42, io.ErrNoProgress, nil} {
		t.Run(fmt.Sprint(value), func(t *testing.T) {
			ends := make(chan error, 1)
			s := transport{"tcp", 1}.serve(t, shared(&hooks{
				data:  func(*reactor.Conn, []byte) (int, error) { panic(value) },
				close: func(_ *reactor.Conn, err error) { ends <- err },
			}), nil)
			s.dial().send("x")
			var p *reactor.PanicError
			require.ErrorAs(t, receive(t, ends), &p)
			if value == nil {
				require.IsType(t, new(runtime.PanicNilError), p.Value)
			} else {
				require.Equal(t, value, p.Value)
			}
		})
	}
}

// What a panicking call wrote is dropped; what calls before it wrote and the kernel has not taken is told as unsent.
func TestPanicDropsOutput(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		ends := make(chan error, 1)
		s := tr.serve(t, shared(reactor.Frames(codec.Fixed(1), &frameHooks{
			frame: func(c *reactor.Conn, p []byte) error {
				switch p[0] {
				case 'p':
					_, _ = c.Write([]byte("dropped"))
					panic(errThrown)
				case 'b':
					_, err := c.Write(make([]byte, 8<<20))
					return err
				}
				_, err := c.Write(p)
				return err
			},
			hooks: hooks{close: func(_ *reactor.Conn, err error) { ends <- err }},
		})), nil)
		cl := s.dial()
		cl.send("a")
		cl.expect("a")
		cl.send("p")
		cl.expectGone()
		err := receive(t, ends)
		require.ErrorIs(t, err, errThrown)
		var unsent *reactor.UnsentError
		require.False(t, errors.As(err, &unsent))

		// A blocked connection panics in a Do.
		accept, refs := accepted(&hooks{close: func(_ *reactor.Conn, err error) { ends <- err }})
		s = tr.serve(t, accept, nil)
		cl = s.dial()
		ref := receive(t, refs)
		_, err = ref.Write(make([]byte, 8<<20))
		require.NoError(t, err)
		require.NoError(t, ref.Do(func(*reactor.Conn, error) {}))
		eventually(t, "blocked", func() (b bool) {
			do(t, ref, func(c *reactor.Conn) { b = c.Blocked() })
			return b
		})
		require.NoError(t, ref.Do(func(*reactor.Conn, error) { panic(errThrown) }))
		err = receive(t, ends)
		require.ErrorAs(t, err, &unsent)
		require.ErrorIs(t, err, errThrown)
		n, _ := io.Copy(io.Discard, cl)
		require.Less(t, n, int64(8<<20))
		require.Zero(t, s.Buffered())
	})
}

// Handlers that all call Goexit in Close do not keep the reactor from ending, and the ends of their peers are heard: no
// time passes, at the end of which a connection would linger no more.
func TestGoexitInEveryCloseAtTheEnd(t *testing.T) {
	ways := map[string]func(s *server) error{
		"Close":    func(s *server) error { return s.Close() },
		"Shutdown": func(s *server) error { return s.Shutdown(t.Context()) },
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for name, stop := range ways {
			t.Run(name, func(t *testing.T) {
				const conns = 20
				ends := make(chan error, conns+1)
				accept, refs := accepted(&hooks{close: func(_ *reactor.Conn, err error) {
					ends <- err
					runtime.Goexit()
				}})
				s := tr.serveWith(t, reactor.Options{}, accept, nil, timeless)
				for range conns {
					cl := s.dial()
					receive(t, refs)
					go func() { // ends when the server does, so that it need not linger
						_, _ = io.Copy(io.Discard, cl)
						_ = cl.Close()
					}()
				}
				stopped := make(chan error, 1)
				go func() { stopped <- stop(s) }()
				require.NoError(t, receive(t, stopped))
				require.Len(t, ends, conns)
			})
		}
	})
}

// Nor do functions that wait while the reactor ends.
func TestGoexitInTasksAtTheEnd(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		s.dial()
		ref := receive(t, refs)
		release := block(t, ref)
		const tasks = 300
		ran := make(chan struct{}, 2*tasks)
		for range tasks {
			require.NoError(t, ref.Do(func(*reactor.Conn, error) {
				ran <- struct{}{}
				_ = ref.Do(func(*reactor.Conn, error) { runtime.Goexit() })
				runtime.Goexit()
			}))
		}
		stopped := make(chan error, 1)
		go func() { stopped <- s.Close() }()
		release()
		require.NoError(t, receive(t, stopped))
		require.Len(t, ran, tasks)
	})
}

// An accept func that calls Goexit just when a listener that was full accepts again does not end the listener.
func TestGoexitWhileAcceptingAgain(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		calls := make(chan int, 10)
		n := 0
		s := tr.serveWith(t, reactor.Options{MaxConns: 1}, func(*reactor.Conn) (reactor.Handler, error) {
			n++
			calls <- n
			if n == 2 {
				runtime.Goexit()
			}
			return reactor.DataFunc(echo), nil
		}, nil)
		first := s.dial()
		require.Equal(t, 1, receive(t, calls))
		second := s.dial() // waits in the backlog
		eventually(t, "the listener stopped", func() bool { return s.Log.has("not accepting") })
		require.NoError(t, first.Close())
		require.Equal(t, 2, receive(t, calls))
		second.expectGone()
		third := s.dial()
		third.send("x")
		third.expect("x")
	})
}

// An accept func that calls Goexit while the reactor drains its backlog does not keep it from ending.
func TestGoexitOfAcceptFuncWhileDraining(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		crash := false
		entered, until := make(chan struct{}, 1), make(chan struct{})
		s := tr.serve(t, func(*reactor.Conn) (reactor.Handler, error) {
			if crash {
				runtime.Goexit()
			}
			crash = true
			entered <- struct{}{}
			<-until
			return &hooks{draining: func(*reactor.Conn) { runtime.Goexit() }}, nil
		}, nil)
		var waiting []client
		waiting = append(waiting, s.dial())
		receive(t, entered)
		for range 5 {
			waiting = append(waiting, s.dial())
		}
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		close(until)
		require.NoError(t, receive(t, stopped))
		for _, cl := range waiting {
			cl.expectGone()
		}
		require.False(t, s.Log.has("not accepting"))
	})
}

// A descriptor number that is used again at once never carries one connection's bytes to another: 100 connections
// come and go, some end in the middle of output or input, and everyone checks a pattern of its own.
func TestNoBytesCrossConnections(t *testing.T) {
	rounds := 2000
	if testing.Short() || raceBuild {
		rounds = 500
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, func(*reactor.Conn) (reactor.Handler, error) {
			var own []byte
			return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
				if own == nil {
					own = slices.Clone(in[:1])
				}
				for _, b := range in {
					if b != own[0] && b != 0xff {
						panic(fmt.Sprintf("%x in a stream of %x", b, own[0]))
					}
					if b == 0xff {
						return len(in), c.Close()
					}
				}
				if _, err := c.Write(in); err != nil {
					return 0, err
				}
				// The same later, through a Ref that may be stale by then.
				ref, p := c.Ref(), slices.Clone(in)
				go func() { _, _ = ref.Write(p) }()
				return len(in), nil
			}), nil
		}, nil)
		work := make(chan int)
		failures := make(chan error, 100)
		for range 100 {
			go func() {
				for i := range work {
					failures <- churn(s, i)
				}
			}()
		}
		go func() {
			for i := range rounds {
				work <- i
			}
			close(work)
		}()
		for range rounds {
			require.NoError(t, receive(t, failures))
		}
		require.False(t, s.Log.has("panicked"))
	})
}

// churn is the life of one client: it sends its own byte and accepts no other.
func churn(s *server, i int) error {
	conn, err := dialPlain(s.Listener.Addr())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	own := byte(i%200 + 1)
	p := slices.Repeat([]byte{own}, 1+i*37%3000)
	got := make([]byte, 4096)
	check := func(n int) error {
		for _, b := range got[:n] {
			if b != own {
				return fmt.Errorf("client %d got %x, not its %x", i, b, own)
			}
		}
		return nil
	}
	for range 1 + i%3 {
		if _, err := conn.Write(p); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		n, err := conn.Read(got)
		if err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		if err := check(n); err != nil {
			return err
		}
	}
	switch i % 4 {
	case 0: // closes with answers unread: a reset
	case 1: // asks the server to close and reads to the end
		_, _ = conn.Write([]byte{0xff})
		for {
			n, err := conn.Read(got)
			if e := check(n); e != nil || err != nil {
				return e // a reset is no failure, the server may have written through its Ref
			}
		}
	case 2: // ends its half
		_ = conn.CloseWrite()
		for {
			n, err := conn.Read(got)
			if e := check(n); e != nil || err != nil {
				return e
			}
		}
	case 3: // sends and goes without waiting
		_, _ = conn.Write(p)
	}
	return nil
}
