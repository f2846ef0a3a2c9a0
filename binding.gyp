{
  "targets": [
    {
      "target_name": "rootloom",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": [],
          "outputs": ["build/Release/rootloom.node"],
          "action": ["node", "scripts/build-native.mjs"]
        }
      ]
    }
  ]
}
