// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"maps"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// limits are a listener's on who connects: MaxPerPeer and AcceptRate. nil has none. Any goroutine.
type limits struct {
	refusals, waits atomic.Uint64
	perPeer         int
	interval        int64 // nanoseconds between two connections at AcceptRate, 0 for no limit
	slack           int64 // how far ahead of that AcceptBurst may be

	mu    sync.Mutex
	peers map[netip.Addr]int // connections of each peer that has any
	most  int                // how many peers the map has had room for
	next  int64              // when the next connection would come at AcceptRate, in the past for a full bucket
}

// fewPeers are so many that their table is never made smaller.
const fewPeers = 1024

func newLimits(o *StreamOptions) *limits {
	l := &limits{perPeer: o.MaxPerPeer}
	if o.MaxPerPeer != math.MaxInt {
		l.peers = make(map[netip.Addr]int)
	}
	if o.AcceptRate != math.MaxInt {
		l.interval = (int64(time.Second) + int64(o.AcceptRate) - 1) / int64(o.AcceptRate)
		l.slack = int64(o.AcceptBurst-1) * l.interval
	}
	if l.peers == nil && l.interval == 0 {
		return nil
	}
	return l
}

// peerOf returns what counts as one peer: an IPv4 address, and of IPv6 the /64, for that is what one site has at least
// (RFC 6177) and one machine may use up addresses of at will (RFC 8981). Link-local addresses all share theirs, so each
// counts.
func peerOf(a netip.Addr) netip.Addr {
	if a.Is4() || a.IsLinkLocalUnicast() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}

// enter counts a connection of the peer in, unless it has as many as it may.
func (l *limits) enter(a netip.Addr) bool {
	if l == nil || l.peers == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	peer := peerOf(a)
	if l.peers[peer] >= l.perPeer {
		l.refusals.Add(1)
		return false
	}
	l.peers[peer]++
	l.most = max(l.most, len(l.peers))
	return true
}

// leave counts it out.
func (l *limits) leave(a netip.Addr) {
	if l == nil || l.peers == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	peer := peerOf(a)
	if l.peers[peer]--; l.peers[peer] == 0 {
		delete(l.peers, peer)
	}
	if n := len(l.peers); l.most > fewPeers && n < l.most/4 { // a map keeps its memory
		small := make(map[netip.Addr]int, n)
		maps.Copy(small, l.peers)
		l.peers, l.most = small, n
	}
}

// take takes a token and returns 0, or when there will be one.
func (l *limits) take(k clock) (at int64) {
	if l == nil || l.interval == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := k.now()
	if at := l.next - l.slack; at > t {
		return at
	}
	l.next = max(l.next, t) + l.interval
	return 0
}

// giveBack returns a token that was taken for nothing.
func (l *limits) giveBack() {
	if l == nil || l.interval == 0 {
		return
	}
	l.mu.Lock()
	l.next -= l.interval
	l.mu.Unlock()
}
