// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// A registry finds the connections of one loop by descriptor number and by 4-tuple. Only its loop writes; the loop reads
// without the lock, everyone else with it.
//
// A Go map from tuple to connection costs some 200 bytes a connection. Here the index is an open-addressing table of
// descriptor numbers, 4 bytes a slot, and the tuples are compared where they are anyway: in the connections.
type registry struct {
	mu    sync.Mutex
	byFD  []*Conn // nil where the number is not a connection's
	slots []int32 // descriptor number + 1, 0 for an empty slot; a power of two of them, at most three quarters full
	used  int
	seed  maphash.Seed
}

// at returns the connection that owns fd. On the loop only.
func (g *registry) at(fd int) *Conn {
	if uint(fd) < uint(len(g.byFD)) {
		return g.byFD[fd]
	}
	return nil
}

// add enters c, whose descriptor number is not in use. On the loop only.
func (g *registry) add(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fd := int(c.fd)
	if fd >= len(g.byFD) {
		grown := make([]*Conn, max(64, 1<<bits.Len(uint(fd))))
		copy(grown, g.byFD)
		g.byFD = grown
	}
	g.byFD[fd] = c
	if c.tuple == (FourTuple{}) {
		return
	}
	if (g.used+1)*4 > len(g.slots)*3 {
		g.rehash(max(64, 2*len(g.slots)))
	}
	g.insert(c)
}

// removeTuple takes c out of the index, not out of byFD. On the loop only.
func (g *registry) removeTuple(c *Conn) {
	if c.tuple == (FourTuple{}) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	mask := len(g.slots) - 1
	i := g.home(c.tuple)
	for ; g.slots[i] != c.fd+1; i = (i + 1) & mask {
		if g.slots[i] == 0 {
			return
		}
	}
	// Close the gap: whoever probed past this slot moves back into it.
	for j := (i + 1) & mask; g.slots[j] != 0; j = (j + 1) & mask {
		home := g.home(g.byFD[g.slots[j]-1].tuple)
		if (j-home)&mask >= (j-i)&mask {
			g.slots[i] = g.slots[j]
			i = j
		}
	}
	g.slots[i] = 0
	g.used--
}

// removeFD forgets the descriptor number. On the loop only.
func (g *registry) removeFD(fd int) {
	g.mu.Lock()
	g.byFD[fd] = nil
	g.mu.Unlock()
}

// lookup finds the open connection of a tuple. Any goroutine.
func (g *registry) lookup(t FourTuple) *Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.of(t)
}

// of is lookup without the lock. On the loop only.
func (g *registry) of(t FourTuple) *Conn {
	if len(g.slots) == 0 {
		return nil
	}
	for i := g.home(t); g.slots[i] != 0; i = (i + 1) & (len(g.slots) - 1) {
		if c := g.byFD[g.slots[i]-1]; c.tuple == t {
			return c
		}
	}
	return nil
}

// find returns the connection with that descriptor number and ID. Any goroutine.
func (g *registry) find(fd int, id uint64) *Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.at(fd); c != nil && c.id == id && !c.hasEnded() {
		return c
	}
	return nil
}

// snapshot appends the open connections to dst. Any goroutine.
func (g *registry) snapshot(dst []*Conn) []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.byFD {
		if c != nil && !c.hasEnded() {
			dst = append(dst, c)
		}
	}
	return dst
}

func (g *registry) home(t FourTuple) int {
	return int(maphash.Comparable(g.seed, t)) & (len(g.slots) - 1)
}

func (g *registry) insert(c *Conn) {
	i := g.home(c.tuple)
	for g.slots[i] != 0 {
		i = (i + 1) & (len(g.slots) - 1)
	}
	g.slots[i] = c.fd + 1
	g.used++
}

func (g *registry) rehash(size int) {
	old := g.slots
	g.slots, g.used = make([]int32, size), 0
	for _, slot := range old {
		if slot != 0 {
			g.insert(g.byFD[slot-1])
		}
	}
}

// clear forgets everything, when the loop has ended.
func (g *registry) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.byFD, g.slots, g.used = nil, nil, 0
}
