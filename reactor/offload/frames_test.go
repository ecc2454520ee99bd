// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
	"github.com/stretchr/testify/require"
)

// Replies come in the order of the requests, whatever each takes and however many run at a time, and no more run
// than Parallel and Workers allow. What was sent before the half-close is answered, all of it.
func TestRepliesInOrder(t *testing.T) {
	t.Parallel()
	const clients, requests = 6, 100
	for _, o := range []offload.Options{{Workers: 8}, {Workers: 8, Parallel: 5}, {Workers: 1, Queue: 1}, {Workers: 2, QueueBytes: 1}, {MaxBuffered: 1}} {
		t.Run(fmt.Sprintf("workers=%d,parallel=%d,queue=%d", o.Workers, o.Parallel, o.Queue), func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, tr transport) {
				s := tr.start(t, o)
				var all atomic.Int32
				var each [clients]atomic.Int32
				a := s.serve(func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
					own := &each[line[0]-'0']
					if n := own.Add(1); int(n) > max(o.Parallel, 1) {
						t.Errorf("%d at a time of one connection", n)
					}
					if n := all.Add(1); o.Workers > 0 && int(n) > o.Workers {
						t.Errorf("%d at a time", n)
					}
					for range rand.IntN(20) {
						runtime.Gosched()
					}
					own.Add(-1)
					all.Add(-1)
					return append(line, '!'), nil
				})
				var conns []*client
				var want [clients]strings.Builder
				for i := range clients {
					cl := dial(t, a)
					conns = append(conns, cl)
					for j := range requests {
						cl.send(fmt.Sprintf("%d:%d\n", i, j))
						fmt.Fprintf(&want[i], "%d:%d!\n", i, j)
					}
					cl.closeWrite()
				}
				for i, cl := range conns {
					require.Equal(t, want[i].String(), cl.rest())
					require.Equal(t, io.EOF, receive(t, s.ends))
				}
			})
		})
	}
}

// What a FrameHandler returns: a reply, an empty one, none, and an error with and without a last reply.
func TestFrameReturns(t *testing.T) {
	t.Parallel()
	errEnough := errors.New("enough")
	tests := []struct {
		in, out string
		end     error
	}{
		{"reply", "reply\n", io.EOF},
		{"", "\n", io.EOF},
		{"none", "", io.EOF},
		{"bye", "bye\n", errEnough},
		{"go", "", errEnough},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{Parallel: 2})
		a := s.serve(func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			switch string(line) {
			case "none":
				return nil, nil
			case "bye":
				return line, errEnough
			case "go":
				return nil, errEnough
			}
			return line, nil
		})
		for _, test := range tests {
			cl := dial(t, a)
			cl.send("first\n" + test.in + "\n")
			cl.closeWrite()
			require.Equal(t, "first\n"+test.out, cl.rest(), test.in)
			require.Equal(t, test.end, receive(t, s.ends), test.in)
		}
	})
}

// A frame that was cut off by the peer's end closes with the codec's error, after the answers to what was whole.
func TestHalfCloseInsideAFrame(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{})
		ended := make(chan struct{})
		a := s.serve(func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			<-ended
			return line, nil
		})
		cl := dial(t, a)
		cl.send("one\ntwo\nthr")
		cl.closeWrite()
		close(ended)
		require.Equal(t, "one\ntwo\n", cl.rest())
		var cut *codec.TruncatedError
		require.ErrorAs(t, receive(t, s.ends), &cut)
	})
}

// A client that floods while nothing is answered fills its queue and then the kernel's buffers; every byte of it is
// answered afterwards. The loop serves others meanwhile, although every worker is busy.
func TestFloodWhileEveryWorkerIsBusy(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const workers, queue = 2, 8
		s := tr.start(t, offload.Options{Workers: workers, Queue: queue, QueueBytes: 100 << 10})
		free := make(chan struct{})
		var begun, answered atomic.Int32
		a := s.serve(func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			begun.Add(1)
			<-free
			answered.Add(1)
			return line, nil
		})
		echo := s.listen(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			_, err := c.Write(in)
			return len(in), err
		}))
		line := append(bytes.Repeat([]byte("x"), 10<<10), '\n')
		const floods, requests = 3, 400
		sent := make(chan error, floods)
		var clients []*client
		for range floods {
			cl := dial(t, a)
			clients = append(clients, cl)
			go func() {
				for range requests {
					if _, err := cl.Write(line); err != nil {
						sent <- err
						return
					}
				}
				sent <- cl.Conn.(interface{ CloseWrite() error }).CloseWrite()
			}()
		}
		eventually(t, "every worker is busy and every queue full", func() bool {
			return begun.Load() == workers && s.pool.Buffered() == floods*queue*int64(len(line)-1)
		})
		other := dial(t, echo)
		for range 100 {
			other.send("hello")
			other.expect("hello")
		}
		require.EqualValues(t, floods*queue*(len(line)-1), s.pool.Buffered())
		require.Equal(t, workers, s.pool.Goroutines())
		close(free)
		for _, cl := range clients {
			n, err := io.Copy(io.Discard, cl.in)
			require.NoError(t, err)
			require.EqualValues(t, requests*len(line), n)
			require.NoError(t, receive(t, sent))
			require.Equal(t, io.EOF, receive(t, s.ends))
		}
		require.EqualValues(t, floods*requests, answered.Load())
	})
}

// A client that sends and does not read: replies stop at the high-water mark and at QueueBytes, and work with them;
// none is lost.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const requests, reply, limit = 60, 1 << 20, 3 << 20
		s := tr.start(t, offload.Options{Queue: 50, Parallel: 2, QueueBytes: limit})
		answer := bytes.Repeat([]byte("y"), reply)
		wide := codec.Line(2 * reply)
		var begun atomic.Int32
		a := s.listen(offload.Frames(s.pool, lines, wide, work{func(context.Context, reactor.Ref, []byte) ([]byte, error) {
			begun.Add(1)
			if n := s.pool.Buffered(); n > limit+2*reply {
				t.Errorf("%d bytes are kept", n)
			}
			return answer, nil
		}, s.ends}))
		cl := dial(t, a)
		cl.send(strings.Repeat("z\n", requests))
		cl.closeWrite()
		eventually(t, "replies wait", func() bool { return s.pool.Buffered() >= limit })
		require.Less(t, begun.Load(), int32(requests))
		n, err := io.Copy(io.Discard, cl.in)
		require.NoError(t, err)
		require.EqualValues(t, requests*(reply+1), n)
		require.Equal(t, io.EOF, receive(t, s.ends))
	})
}

// A connection that floods a pool of one worker has one turn for each of another's.
func TestTurns(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{Workers: 1})
		free := make(chan struct{})
		order := make(chan string, 100)
		a := s.serve(func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			<-free
			order <- string(line)
			return line, nil
		})
		many, few := dial(t, a), dial(t, a)
		many.send(strings.Repeat("m\n", 12))
		eventually(t, "the first queue is filled", func() bool { return s.pool.Buffered() == 12 })
		few.send("f\nf\n")
		eventually(t, "the second queue is filled", func() bool { return s.pool.Buffered() == 14 })
		close(free)
		got := ""
		for range 14 {
			got += receive(t, order)
		}
		require.Equal(t, "mfmf"+strings.Repeat("m", 10), got)
	})
}

// When the connection ends, the context of its work is done with the cause, and what waits is not begun, also while
// no worker is free.
func TestCancelledByTheEnd(t *testing.T) {
	t.Parallel()
	errEnough := errors.New("enough")
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{Workers: 2})
		free := make(chan struct{})
		begun := make(chan reactor.Ref, 100)
		causes := make(chan error, 100)
		a := s.serve(func(ctx context.Context, ref reactor.Ref, line []byte) ([]byte, error) {
			begun <- ref
			if string(line) == "deaf" {
				<-free
				return nil, nil
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return line, ctx.Err()
		})
		deaf, cl := dial(t, a), dial(t, a)
		deaf.send("deaf\n")
		receive(t, begun)
		cl.send("one\ntwo\nthree\n")
		ref := receive(t, begun)
		eventually(t, "the rest waits", func() bool { return s.pool.Buffered() == int64(len("deafonetwothree")) })
		require.NoError(t, ref.Do(func(c *reactor.Conn, _ error) { _ = c.CloseWithError(errEnough) }))
		require.Equal(t, errEnough, receive(t, causes))
		require.Equal(t, errEnough, receive(t, s.ends))
		require.Empty(t, cl.rest())
		eventually(t, "only the deaf is left", func() bool { return s.pool.Buffered() == int64(len("deaf")) })

		// With the other worker taken too, connections come and go and leave nothing.
		second := dial(t, a)
		second.send("deaf\n")
		receive(t, begun)
		for len(s.refs) > 0 {
			receive(t, s.refs)
		}
		for range 20 {
			cl := dial(t, a)
			cl.send(strings.Repeat("never\n", 5))
			eventually(t, "it waits", func() bool { return s.pool.Buffered() == int64(len("deafdeaf")+5*len("never")) })
			require.NoError(t, receive(t, s.refs).Do(func(c *reactor.Conn, _ error) { c.Abort() }))
			require.ErrorIs(t, receive(t, s.ends), reactor.ErrAborted)
			eventually(t, "it is gone", func() bool { return s.pool.Buffered() == int64(len("deafdeaf")) })
		}
		close(free)
		require.Empty(t, begun)
	})
}

// A panic, or Goexit, closes its connection with what was thrown, after the replies to what came before; those after
// it are not answered. The pool's only worker goes on.
func TestCrash(t *testing.T) {
	t.Parallel()
	errThrown := errors.New("thrown")
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{Workers: 1, Parallel: 2})
		a := s.serve(func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			switch string(line) {
			case "panic":
				panic(errThrown)
			case "Goexit":
				runtime.Goexit()
			}
			return line, nil
		})
		for range 3 {
			for how, value := range map[string]error{"panic": errThrown, "Goexit": reactor.ErrGoexit} {
				cl := dial(t, a)
				cl.send("first\nsecond\n" + how + "\nnever\n")
				require.Equal(t, "first\nsecond\n", cl.rest())
				err := receive(t, s.ends)
				var crash *reactor.PanicError
				require.ErrorAs(t, err, &crash)
				require.ErrorIs(t, err, value)
				require.Contains(t, string(crash.Stack), "TestCrash")
			}
		}
		cl := dial(t, a)
		cl.send("alive\n")
		cl.expect("alive\n")
	})
}

// Shutdown waits for work and its answers, of connections that the peer has half closed too, and for what their
// queues hold.
func TestShutdownWaitsForWork(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{Queue: 4})
		free, begun := make(chan struct{}), make(chan struct{}, 100)
		a := s.serve(func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			begun <- struct{}{}
			<-free
			return line, nil
		})
		open, half := dial(t, a), dial(t, a)
		open.send("a\nb\nc\nd\ne\nf\n") // more than the queue holds
		half.send("a\nb\n")
		half.closeWrite()
		receive(t, begun)
		receive(t, begun)
		eventually(t, "the rest waits", func() bool { return s.pool.Buffered() == 6 })
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		eventually(t, "Shutdown begins", func() bool {
			_, err := s.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return nil, io.EOF }, nil)
			return errors.Is(err, net.ErrClosed)
		})
		require.Empty(t, done)
		require.Empty(t, s.ends)
		close(free)
		require.Equal(t, "a\nb\nc\nd\ne\nf\n", open.rest())
		require.Equal(t, "a\nb\n", half.rest())
		_, _ = open.Close(), half.Close()
		require.NoError(t, receive(t, done))
	})
}

// At the end of Shutdown's patience the contexts of work are done, and Shutdown does not wait for work that does not heed
// its own.
func TestShutdownLosesPatience(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{})
		free, begun, causes := make(chan struct{}), make(chan struct{}, 10), make(chan error, 10)
		a := s.serve(func(ctx context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			begun <- struct{}{}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			<-free
			return line, nil
		})
		dial(t, a).send("x\ny\n")
		receive(t, begun)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		var aborted *reactor.AbortedError
		require.ErrorAs(t, s.Shutdown(ctx), &aborted)
		require.ErrorIs(t, receive(t, causes), reactor.ErrShutdown)
		require.ErrorIs(t, receive(t, s.ends), reactor.ErrShutdown)
		close(free)
	})
}
