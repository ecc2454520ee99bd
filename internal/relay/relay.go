// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package relay mistreats datagrams, for the tests of those who send some.
package relay

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Fate is what may happen to a datagram on its way, as parts of 1.
type Fate struct {
	Lost, Doubled, Delayed float64
	Delay                  time.Duration // at most; what follows may overtake
}

// A Relay stands between one client and a server, on sockets of its own, and mistreats what passes. The fate of the
// n-th datagram of a direction depends on the seed alone.
type Relay struct {
	Fate
	front *net.UDPConn // to which the client talks
	back  *net.UDPConn // connected to the server
	tasks sync.WaitGroup

	Requests atomic.Int64 // datagrams of the client that reached the relay
	Replies  atomic.Int64 // datagrams about to be sent to the client
}

// New makes a relay to a server, which stands there until the test ends.
func New(t testing.TB, server string, f Fate, seed uint64) *Relay {
	t.Helper()
	front, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	require.NoError(t, err)
	back, err := net.Dial("udp", server)
	require.NoError(t, err)
	r := &Relay{Fate: f, front: front, back: back.(*net.UDPConn)}
	t.Cleanup(func() {
		_, _ = front.Close(), back.Close()
		r.tasks.Wait()
	})

	var client atomic.Pointer[netip.AddrPort]
	r.pass(rand.New(rand.NewPCG(seed, 1)), func(p []byte) (int, error) {
		n, from, err := r.front.ReadFromUDPAddrPort(p)
		if err == nil {
			client.Store(&from)
			r.Requests.Add(1)
		}
		return n, err
	}, r.back.Write)
	r.pass(rand.New(rand.NewPCG(seed, 2)), r.back.Read, func(p []byte) (int, error) {
		r.Replies.Add(1) // before the client can count it
		return r.front.WriteToUDPAddrPort(p, *client.Load())
	})
	return r
}

// Addr is where the client finds the relay.
func (r *Relay) Addr() string { return r.front.LocalAddr().String() }

// pass passes datagrams on in one direction until the relay's sockets are closed.
func (r *Relay) pass(rng *rand.Rand, read, write func(p []byte) (int, error)) {
	r.tasks.Go(func() {
		for {
			p := make([]byte, 1<<16)
			n, err := read(p)
			if errors.Is(err, syscall.ECONNREFUSED) {
				continue // the server is gone
			}
			if err != nil {
				return
			}
			copies := 1
			if rng.Float64() < r.Doubled {
				copies = 2
			}
			if rng.Float64() < r.Lost {
				copies = 0
			}
			for range copies {
				if rng.Float64() >= r.Delayed {
					_, _ = write(p[:n])
					continue
				}
				delay := time.Duration(rng.Float64() * float64(r.Delay))
				r.tasks.Go(func() {
					time.Sleep(delay)
					_, _ = write(p[:n])
				})
			}
		}
	})
}
