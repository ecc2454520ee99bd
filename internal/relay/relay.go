// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

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

// A fate is what may happen to a datagram on its way, as parts of 1.
type fate struct {
	lost, doubled, delayed float64
	delay                  time.Duration // at most; what follows may overtake
}

// A relay stands between one client and a server, on sockets of its own, and mistreats what passes. The fate of the
// n-th datagram of a direction depends on the seed alone.
type relay struct {
	fate
	front *net.UDPConn // to which the client talks
	back  *net.UDPConn // connected to the server
	tasks sync.WaitGroup

	requests atomic.Int64 // datagrams of the client that reached the relay
	replies  atomic.Int64 // datagrams about to be sent to the client
}

func newRelay(t *testing.T, server string, f fate, seed uint64) *relay {
	front, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	require.NoError(t, err)
	back, err := net.Dial("udp", server)
	require.NoError(t, err)
	r := &relay{fate: f, front: front, back: back.(*net.UDPConn)}
	t.Cleanup(func() {
		_, _ = front.Close(), back.Close()
		r.tasks.Wait()
	})

	var client atomic.Pointer[netip.AddrPort]
	r.pass(rand.New(rand.NewPCG(seed, 1)), func(p []byte) (int, error) {
		n, from, err := r.front.ReadFromUDPAddrPort(p)
		if err == nil {
			client.Store(&from)
			r.requests.Add(1)
		}
		return n, err
	}, r.back.Write)
	r.pass(rand.New(rand.NewPCG(seed, 2)), r.back.Read, func(p []byte) (int, error) {
		r.replies.Add(1) // before the client can count it
		return r.front.WriteToUDPAddrPort(p, *client.Load())
	})
	return r
}

func (r *relay) addr() string { return r.front.LocalAddr().String() }

// pass passes datagrams on in one direction until the relay's sockets are closed.
func (r *relay) pass(rng *rand.Rand, read, write func(p []byte) (int, error)) {
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
			if rng.Float64() < r.doubled {
				copies = 2
			}
			if rng.Float64() < r.lost {
				copies = 0
			}
			for range copies {
				if rng.Float64() >= r.delayed {
					_, _ = write(p[:n])
					continue
				}
				delay := time.Duration(rng.Float64() * float64(r.delay))
				r.tasks.Go(func() {
					time.Sleep(delay)
					_, _ = write(p[:n])
				})
			}
		}
	})
}
