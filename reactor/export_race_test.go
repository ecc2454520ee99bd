// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && race

package reactor

// BuffersTaken is how many pooled buffers were not given back, of all reactors. Only race builds know.
func BuffersTaken() (n int) {
	takenBuffers.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}
