// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// A megabyte of random bytes comes back as it went, however it was cut.
func TestEchoOfRandomChunks(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
		for range 3 {
			seed := rand.Uint64()
			rnd := rand.New(rand.NewPCG(seed, seed))
			sent := randomBytes(rnd, 1<<20)
			cl := s.dial()
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(1<<rnd.IntN(18)+rnd.IntN(100), len(rest))
					if _, err := cl.Write(rest[:n]); err != nil {
						return // the reader tells
					}
					rest = rest[n:]
				}
			}()
			got := make([]byte, len(sent))
			n, err := io.ReadFull(cl, got)
			require.NoError(t, err, "seed %d, after %d bytes", seed, n)
			requireSame(t, sent, got, "seed %d", seed)
		}
	})
}

// A client that shuts down its writing half before it reads gets all of its reply: 16 MB, 10 of 10 times.
func TestEchoAfterHalfClose(t *testing.T) {
	sizes := []int{0, 64, 1 << 20, 16 << 20}
	if testing.Short() || raceBuild {
		sizes[3] = 4 << 20
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		ends := make(chan error, 10)
		echoer := &hooks{data: echo, close: func(_ *reactor.Conn, err error) { ends <- err }}
		s := tr.serve(t, shared(echoer), nil)
		for _, size := range sizes {
			sent := randomBytes(rand.New(rand.NewPCG(1, uint64(size))), size)
			for round := range 10 {
				cl := s.dial()
				// Sending and reading at once, for both ends' buffers are smaller than this. What fits is sent and
				// ended first.
				half := make(chan error, 1)
				go func() {
					_, err := cl.Write(sent)
					if err == nil {
						err = cl.CloseWrite()
					}
					half <- err
				}()
				if size <= 64 {
					require.NoError(t, receive(t, half))
					half <- nil
				}
				cl.expectStream(sent, "round %d", round)
				require.NoError(t, receive(t, half))
				require.ErrorIs(t, receive(t, ends), io.EOF)
			}
		}
	})
}

// A server that answers only at the end holds the whole reply while the client has long gone half-closed.
func TestReplyAfterHalfClose(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		size := 15 << 20
		if testing.Short() || raceBuild {
			size = 4 << 20
		}
		reply := pattern(size)
		s := tr.serve(t, shared(&hooks{eof: func(c *reactor.Conn, _ []byte) error {
			if _, err := c.Write(reply); err != nil {
				return err
			}
			return c.Close()
		}}), nil)
		for range 10 {
			cl := s.dial()
			cl.send("request")
			require.NoError(t, cl.CloseWrite())
			cl.expectStream(reply)
		}
	})
}

// Many clients at once, some of which send much and some little: each gets its own bytes.
func TestEchoOfManyClients(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
		var wg sync.WaitGroup
		errs := make(chan error, 64)
		for i := range 64 {
			cl := s.dial()
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(7, uint64(i)))
				for range 30 {
					sent := randomBytes(rnd, 1+rnd.IntN(1<<rnd.IntN(17)))
					got := make([]byte, len(sent))
					if _, err := cl.Write(sent); err != nil {
						errs <- err
						return
					}
					if _, err := io.ReadFull(cl, got); err != nil {
						errs <- err
						return
					}
					if !bytes.Equal(sent, got) {
						errs <- fmt.Errorf("client %d got other bytes than it sent", i)
						return
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			t.Error(err)
		}
	})
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := 0; i < n; {
		for v := rnd.Uint64(); v > 0 && i < n; v, i = v>>8, i+1 {
			p[i] = byte(v)
		}
	}
	return p
}

// requireSame compares without printing megabytes.
func requireSame(t testing.TB, want, got []byte, about ...any) {
	t.Helper()
	if bytes.Equal(want, got) {
		return
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	require.FailNow(t, fmt.Sprintf("%d bytes, want %d; they differ from byte %d on", len(got), len(want), at), about...)
}
