// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package rig_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/rig"
)

func TestDescribe(t *testing.T) {
	d := rig.Describe()
	assert.Equal(t, runtime.NumCPU(), d.CPUs)
	assert.NotEmpty(t, d.Kernel)
	assert.Equal(t, runtime.GOOS+"/"+runtime.GOARCH, d.OS)
}

func TestChecksSayWhatTheySaw(t *testing.T) {
	from := rig.Now()
	checks := rig.Checks(from, rig.Now())
	require.Len(t, checks, 3)
	for _, c := range checks {
		assert.NotEmpty(t, c.Text, c.Name)
	}
}

func TestStealIsAShare(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the accounts are Linux's")
	}
	from, to := rig.Now(), rig.Now()
	assert.Nil(t, rig.Steal(from, from), "of no time")
	to.Total, to.Steal = from.Total+200, from.Steal+3
	require.NotNil(t, rig.Steal(from, to))
	assert.InDelta(t, 0.015, *rig.Steal(from, to), 1e-9)
	assert.False(t, rig.Checks(from, to)[0].OK)
	to.Busy, to.Own = from.Busy+100, from.Own+50
	assert.InDelta(t, 0.25*float64(runtime.NumCPU()), *rig.Others(from, to), 1e-9)
}
