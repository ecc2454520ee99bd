// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The index of tuples behaves like a map, whatever comes and goes in whichever order: an open-addressing table that
// closes its gaps has its mistakes in deletion.
func TestRegistryIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		registry := reactor.NewRegistry()
		open := map[int]reactor.Ref{}      // by descriptor number
		lingering := map[int]reactor.Ref{} // ended, the number not free yet
		used := map[reactor.FourTuple]bool{}
		var gone []reactor.Ref
		one := func(of map[int]reactor.Ref) int {
			if len(of) == 0 {
				t.Skip("none")
			}
			return rapid.SampledFrom(slices.Sorted(maps.Keys(of))).Draw(t, "which")
		}
		end := func(fd int) {
			ref := open[fd]
			registry.End(ref)
			delete(open, fd)
			delete(used, ref.Tuple())
			lingering[fd] = ref
			gone = append(gone, ref)
		}
		t.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) {
				for range rapid.IntRange(1, 40).Draw(t, "many") {
					fd := rapid.IntRange(3, 400).Draw(t, "fd")
					tuple := tupleOf(rapid.IntRange(0, 300).Draw(t, "tuple"))
					_, isOpen := open[fd]
					_, lingers := lingering[fd]
					if isOpen || lingers || used[tuple] && tuple != (reactor.FourTuple{}) {
						continue
					}
					open[fd] = registry.Open(fd, tuple)
					used[tuple] = true
				}
			},
			"end": func(*rapid.T) { end(one(open)) },
			"end many": func(t *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(t, "many") {
					if len(open) > 0 {
						end(one(open))
					}
				}
			},
			"close": func(*rapid.T) {
				fd := one(lingering)
				registry.Close(fd)
				delete(lingering, fd)
			},
			"": func(t *rapid.T) {
				for _, ref := range open {
					if registry.ByID(ref.ID()) != ref {
						t.Fatalf("%d not found", ref.ID())
					}
					if tuple := ref.Tuple(); tuple != (reactor.FourTuple{}) && registry.Lookup(tuple) != ref {
						t.Fatalf("%v not found", tuple)
					}
				}
				for _, ref := range gone {
					if registry.ByID(ref.ID()) != (reactor.Ref{}) {
						t.Fatalf("%d found", ref.ID())
					}
					if found := registry.Lookup(ref.Tuple()); found != (reactor.Ref{}) && !used[ref.Tuple()] {
						t.Fatalf("%v found", ref.Tuple())
					}
				}
				listed := registry.Conns()
				if len(listed) != len(open) {
					t.Fatalf("%d listed, %d open", len(listed), len(open))
				}
				for _, ref := range listed {
					if open[int(ref.ID()&(1<<24-1))] != ref {
						t.Fatalf("%d listed", ref.ID())
					}
				}
			},
		})
	})
}

// tupleOf returns one of many tuples, 0 that of a unix connection.
func tupleOf(i int) reactor.FourTuple {
	if i == 0 {
		return reactor.FourTuple{}
	}
	local := netip.MustParseAddrPort("127.0.0.1:80")
	if i%2 == 0 {
		local = netip.MustParseAddrPort("[::1]:80")
	}
	return reactor.FourTuple{Local: local, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), uint16(i>>8+1))}
}

// Coming and going does not make the index grow, nor does what was once there make it slow: no tombstones.
func TestRegistryStaysSmall(t *testing.T) {
	registry := reactor.NewRegistry()
	const conns = 40
	var open [conns]reactor.Ref
	for i := range 100_000 {
		at := i % conns
		if i >= conns {
			registry.End(open[at])
			registry.Close(at + 3)
		}
		open[at] = registry.Open(at+3, tupleOf(i%60_000+1))
	}
	require.Equal(t, 64, registry.Slots())
	for _, ref := range open {
		require.True(t, registry.Lookup(ref.Tuple()) == ref)
	}
}
