// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/scenario"
)

func TestScenariosAreThosePromised(t *testing.T) {
	assert.Equal(t, "echo,frames,fixed,large,push,broadcast,churn,idle,mixed,udp,unix,slow,half-close,emfile,scale", scenario.Names())
	all, err := scenario.Named("all")
	require.NoError(t, err)
	assert.Len(t, all, len(scenario.All)-1, "scale takes long")
	survival := []string{}
	for _, s := range scenario.All {
		assert.NotContains(t, s.Sentence, "\n", s.Name)
		assert.NotEmpty(t, s.Sentence, s.Name)
		if s.Survival {
			survival = append(survival, s.Name)
		}
	}
	assert.Equal(t, []string{"slow", "half-close", "emfile"}, survival)
}

func named(t *testing.T, name string) *scenario.Scenario {
	t.Helper()
	list, err := scenario.Named(name)
	require.NoError(t, err)
	return list[0]
}

func TestCasesFollowTheOptions(t *testing.T) {
	assert.Equal(t, []scenario.Case{{Conns: 100, Size: 64, Depth: 16}}, named(t, "frames").Cases(scenario.Options{}))
	assert.Equal(t, []scenario.Case{{Conns: 10, Size: 64, Depth: 2, Rate: 9}},
		named(t, "frames").Cases(scenario.Options{Case: scenario.Case{Conns: 10, Depth: 2, Rate: 9}}))
	assert.Len(t, named(t, "large").Cases(scenario.Options{}), 2)
	assert.Len(t, named(t, "large").Cases(scenario.Options{Case: scenario.Case{Conns: 1, Size: 5}}), 1, "the same case once")
	assert.Equal(t, []scenario.Case{{Conns: 10000, Size: 64, Depth: 1}},
		named(t, "idle").Cases(scenario.Options{Case: scenario.Case{Depth: 4, Rate: 9}}), "silence has neither rate nor depth")
}

func TestSurvivalTakesThreeRounds(t *testing.T) {
	assert.Equal(t, 3, named(t, "slow").Rounds(15))
	assert.Equal(t, 2, named(t, "slow").Rounds(2))
	assert.Equal(t, 15, named(t, "echo").Rounds(15))
}

func TestUnknownScenarios(t *testing.T) {
	_, err := scenario.Named("echo,tls")
	assert.EqualError(t, err, `no scenario is called "tls", want list, all or some of `+scenario.Names())
	_, err = scenario.Named("echo,echo")
	assert.Error(t, err)
}
